"""Maps of entropy with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from reductions import GRID, WINDOWS, expected, slid
from scipy.special import entr, softmax  # noqa: TID253

from medseg.inference.entropy import EntropySink


def sink() -> EntropySink:
    return EntropySink(grid=GRID, axis=WINDOWS.axis, activation="softmax")


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_equal_scores_give_the_logarithm_of_their_number_everywhere(blocks: int) -> None:
    def equal(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(windows), 5, *windows.shape[2:]), np.float32)

    (found,) = slid(sink(), blocks=blocks, forward=equal)
    assert found.grid == GRID
    assert np.array_equal(found.array, np.full((1, *GRID.shape), np.log(5), np.float16))


def test_the_entropy_of_the_whole_image_in_any_blocks() -> None:
    exact = entr(softmax(expected().astype(float), axis=0)).sum(axis=0)
    found = [slid(sink(), blocks=blocks)[0].array for blocks in (1, 2, 3)]
    assert found[0][0].astype(float) == pytest.approx(exact, abs=1e-3)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
