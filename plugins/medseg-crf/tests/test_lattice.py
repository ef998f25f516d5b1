"""pydensecrf2 gives the same field, where it is installed; where it is not, that is told at once."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from crf_phantoms import INTENSITY, LABELS, dice, phantom
from medseg_crf.dense_crf import DenseCrf
from pydantic import ValidationError

from medseg import Grid, Scores, Volume

INSTALLED = find_spec("pydensecrf") is not None


@pytest.mark.skipif(not INSTALLED, reason="pydensecrf2 is not installed")
def test_probabilities_are_nearly_those_of_torch_where_coupling_is_weak() -> None:
    case = phantom(0)
    weak: Any = {"intensity": INTENSITY, "smooth_weight": 0.5, "appearance_weight": 0.5}
    found = []
    for backend in ("torch", "pydensecrf"):
        logits = DenseCrf(**weak, backend=backend)(case.scores, case.image).array
        shares = np.exp(logits - logits.max(0))
        found.append(shares / shares.sum(0))
    before = np.exp(case.scores.array) / np.exp(case.scores.array).sum(0)
    assert np.abs(found[0] - before).max() > 0.05
    assert np.abs(found[0] - found[1]).max() < 0.02


@pytest.mark.skipif(not INSTALLED, reason="pydensecrf2 is not installed")
def test_labels_that_overlap_and_labels_that_exclude_each_other_are_refined() -> None:
    case = phantom(1)
    step = DenseCrf(intensity=INTENSITY, backend="pydensecrf")
    better = step(case.scores, case.image).array.argmax(axis=0)
    for label in LABELS:
        truth = case.truth.mask(label.name)
        assert dice(better == label.value, truth) >= dice(case.found == label.value, truth) + 0.01
    own = Scores(case.scores.array[1:2] - case.scores.array[:1], case.scores.grid, "logits", "sigmoid")
    truth = case.truth.mask("organ") | case.truth.mask("tumour")
    assert dice(step(own, case.image).array[0] > 0, truth) >= dice(own.array[0] > 0, truth) + 0.01


@pytest.mark.skipif(not INSTALLED, reason="pydensecrf2 is not installed")
def test_its_memory_is_told_apart() -> None:
    case = phantom(0)
    step = DenseCrf(intensity=INTENSITY, backend="pydensecrf")
    lattices = step.work_bytes(case.scores, case.image)
    torchs = DenseCrf(intensity=INTENSITY).work_bytes(case.scores, case.image)
    copies = 4 * case.scores.array.size
    assert lattices == copies + (240 + 32 * 3) * case.scores.array[0].size
    assert torchs != lattices


@pytest.mark.skipif(not INSTALLED, reason="pydensecrf2 is not installed")
def test_a_picture_of_one_row_is_refined() -> None:
    grid = Grid((12, 1, 1), np.eye(4))
    logits = np.where(np.arange(12) < 6, 1, -1).astype(np.float32).reshape(1, 12, 1, 1)
    image = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    step = DenseCrf(intensity=1, backend="pydensecrf")
    found = step(Scores(logits, grid, "logits", "sigmoid"), image).array
    assert np.isfinite(found).all()
    assert found[0, 0, 0, 0] > 0 > found[0, -1, 0, 0]


def test_a_backend_that_is_not_installed_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)  # Python's own way to say that a module is not there
    with pytest.raises(ValidationError, match=r"pip install 'medseg-crf\[pydensecrf\]', or take torch"):
        DenseCrf(intensity=1, backend="pydensecrf")
