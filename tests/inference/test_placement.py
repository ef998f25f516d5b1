"""Every voxel of the target once, with the value that a whole interpolation has there."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import affine_of, grids, rotation

from medseg import GeometryError, Grid
from medseg.inference.placement import Placement
from medseg.inference.windows import Region

Floats = NDArray[np.float32]


def scores_on(grid: Grid, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(2, *grid.shape)).astype(np.float32)


def regions(grid: Grid, across: int, blocks: int) -> list[Region]:
    size = grid.shape[across]
    ends = [round(n * size / blocks) for n in range(blocks + 1)]
    whole = [slice(0, n) for n in grid.shape]
    cut = [
        [slice(*ends) if axis == across else part for axis, part in enumerate(whole)]
        for ends in pairwise(ends)
    ]
    return [(i, j, k) for i, j, k in cut]


def placed(
    scores: Floats, grid: Grid, onto: Grid, *, axis: int, depth: int, across: int = 0, blocks: int = 1
) -> tuple[Floats, NDArray[np.intp]]:
    """Both channels on `onto`, and how often each of its voxels was given; slabs come as from `stream`."""
    place = Placement(grid, axis=axis, onto=onto)
    values = np.full((2, *onto.shape), np.nan, np.float32)
    times = np.zeros(onto.shape, np.intp)
    channels, count = [place.view(one) for one in values], place.view(times)
    for region in regions(grid, across, blocks):
        if blocks > 1:
            place.begin(region)
        for first in range(0, grid.shape[axis], depth):
            part = [slice(max(0, own.start - place.halo), own.stop) for own in region]
            part[axis] = slice(max(0, first - place.halo), min(first + depth, grid.shape[axis]))
            for piece in place.pieces(scores[:, *part], part[axis].start):
                count[piece.where] += 1
                for channel, view in enumerate(channels):
                    view[piece.where] = piece.scores(channel)
    return values, times


GRID = Grid((9, 8, 11), np.diag([2.0, 2.0, 1.5, 1.0]))
TARGETS = {
    "same": GRID,
    "flipped": GRID.reoriented("LPS"),
    "turned and cropped": GRID.reoriented("SAL").cropped((2, 1, 0), (10, 8, 7)),
    "finer": GRID.respaced((1.3, 1.1, 0.7)),
    "coarser, larger": GRID.respaced((3.0, 5.0, 4.0)).padded((1, 1, 1), (2, 0, 1)).reoriented("PIR"),
    "oblique": Grid((14, 13, 12), affine_of(rotation((1, 2, 3), 30) @ np.diag([1.2, 1.3, 1.4]))),
    "elsewhere": Grid((3, 3, 3), affine_of(np.eye(3), (500, 0, 0))),
}


@pytest.mark.parametrize("onto", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("axis", range(3))
def test_blocks_give_every_voxel_once_and_the_same_value(axis: int, onto: Grid) -> None:
    scores = scores_on(GRID)
    expected, once = placed(scores, GRID, onto, axis=axis, depth=11)
    assert set(np.unique(once)) <= {0, 1}
    for across, blocks, depth in product({0, 1, 2} - {axis}, (1, 2, 3, 8), (1, 3)):
        found, times = placed(scores, GRID, onto, axis=axis, depth=depth, across=across, blocks=blocks)
        assert np.array_equal(times, once)
        assert np.array_equal(found, expected, equal_nan=True)


@given(grid=grids(), onto=grids(), axis=st.integers(0, 2), side=st.integers(1, 2), data=st.data())
@settings(max_examples=80, deadline=None)
def test_blocks_do_so_on_any_grid(grid: Grid, onto: Grid, axis: int, side: int, data: st.DataObject) -> None:
    affine = onto.affine.copy()
    affine[:3, 3] += grid.centre - onto.centre  # the same place, or almost all voxels are outside
    onto, across = Grid(onto.shape, affine), (axis + side) % 3
    blocks = data.draw(st.integers(1, min(4, grid.shape[across])))
    depth = data.draw(st.integers(1, grid.shape[axis]))
    scores = scores_on(grid)
    expected, once = placed(scores, grid, onto, axis=axis, depth=grid.shape[axis])
    found, times = placed(scores, grid, onto, axis=axis, depth=depth, across=across, blocks=blocks)
    assert set(np.unique(once)) <= {0, 1}
    assert np.array_equal(times, once)
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_seam_without_its_halo_gives_other_values() -> None:
    onto, scores = TARGETS["finer"], scores_on(GRID)
    expected, _ = placed(scores, GRID, onto, axis=2, depth=11)
    place, found = Placement(GRID, axis=2, onto=onto), np.zeros(onto.shape, np.float32)
    assert place.halo == 1
    for region in regions(GRID, 0, 2):
        place.begin(region)
        forgotten: Any = scores[:, max(0, region[0].start - 1) : region[0].stop].copy()
        if region[0].start:
            forgotten[:, 0] = forgotten[:, 1]
        for piece in place.pieces(forgotten, 0):
            place.view(found)[piece.where] = piece.scores(0)
    unlike = np.flatnonzero((found != expected[0]).any(axis=(1, 2)))
    assert len(unlike) in (1, 2)  # the planes between the two slices at the seam


def test_millimetres_and_pixels_do_not_mix() -> None:
    with pytest.raises(GeometryError, match="cannot be placed"):
        Placement(GRID, axis=0, onto=Grid((3, 3, 1), np.eye(4), "px"))
