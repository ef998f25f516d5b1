"""Each voxel is new once, whatever the slabs, halos and blocks."""

from __future__ import annotations

import numpy as np
import pytest

from medseg import Grid, Scores
from medseg.inference.coverage import MOST_VALUES, Coverage
from medseg.inference.windows import Windows

GRID = Grid((11, 9, 13), np.diag([1.5, 2.0, 0.8, 1.0]))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("halo", [0, 1, 2])
def test_every_voxel_comes_once_with_its_own_scores(axis: int, blocks: int, halo: int) -> None:
    patch = [4, 4, 4]
    patch[axis] = 1  # the smallest slab is along this axis
    windows = Windows(GRID.shape, (patch[0], patch[1], patch[2]))
    assert windows.axis == axis
    scores = np.random.default_rng(1).normal(size=(3, *GRID.shape)).astype(np.float32)
    coverage = Coverage(GRID, axis)
    seen = np.zeros(GRID.shape, int)
    for region in windows.regions(blocks):
        coverage.begin(region)
        for first in range(0, GRID.shape[axis], 4):
            low = [max(0, part.start - halo) for part in region]
            high = [part.stop for part in region]
            low[axis], high[axis] = max(0, first - halo), min(first + 4, GRID.shape[axis])
            part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            slab = Scores(scores[:, *part], GRID.cropped(low, high), "logits")
            for where, piece in coverage.pieces(slab, low[axis]):
                seen[where] += 1
                assert np.array_equal(piece, scores[:, *where])
    assert (seen == 1).all()


def test_pieces_stay_small() -> None:
    grid = Grid((300, 200, 2), np.eye(4))
    slab = Scores(np.zeros((100, 300, 200, 2), np.float32), grid, "logits")
    sizes = [piece.size for _, piece in Coverage(grid, 2).pieces(slab, 0)]
    assert max(sizes) <= MOST_VALUES
    assert sum(sizes) == slab.array.size
