"""What a refiner may return, and how its plugin is checked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg import Grid, PluginError, Scores
from medseg.plugin.catalog import discover
from medseg.steps import Refiner
from medseg.testing.contracts import check_plugins

GRID = Grid((3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
SCORES = Scores(np.zeros((2, *GRID.shape), np.float32), GRID, "logits", "softmax")


def test_what_was_asked_for_passes_and_keeps_the_meaning_of_its_channels() -> None:
    better = Scores(np.ones((2, *GRID.shape), np.float32), GRID, "probabilities")
    checked = Refiner.check(better, like=SCORES)
    assert (checked.kind, checked.activation) == ("probabilities", "softmax")
    assert checked.array.all()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "NoneType, not Scores"),
        (Scores(np.zeros((3, *GRID.shape), np.float32), GRID, "logits"), r"scores \(3, 3, 4, 5\)"),
        (Scores(SCORES.array, Grid(GRID.shape, np.diag([2.0, 2.0, 3.0, 1.0])), "logits"), "not .* on Grid"),
        (Scores(np.full((2, *GRID.shape), np.inf, np.float32), GRID, "logits"), "not all finite"),
        (Scores(np.zeros((2, *GRID.shape), np.int16), GRID, "logits"), "not all finite"),
    ],
)
def test_what_breaks_the_contract_is_refused(returned: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        Refiner.check(returned, like=SCORES)


def test_the_contract_of_the_kind_is_held_against_plugins(install: Callable[..., None]) -> None:
    install("refining")
    found = {
        finding.what.split(" ")[0].rpartition("/")[2]: finding.problem
        for finding in check_plugins(discover(), "fake-refining")
    }
    assert found["favour"] == ""
    assert "ndarray, not Scores" in found["bad-type"]
    assert "(3, 1, 1, 1)" in found["bad-box"]
    assert "not all finite" in found["bad-number"]
    assert "read-only" in found["writes-scores"]
    assert found["runs-out"] == ""
    assert 'on("cpu") gives another result' in found["differs"]
