"""Grids and shapes with known answers for the tests of built-in components."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]


@pytest.fixture
def straight() -> MakeGrid:
    """Make a RAS grid from a shape and a spacing in mm, with an origin that is no round number."""

    def make(shape: Sequence[int], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Grid:
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = (-13.7, 4.2, 101.9)
        i, j, k = shape
        return Grid((i, j, k), affine)

    return make


@pytest.fixture
def oblique() -> MakeGrid:
    """Make a right-angled grid turned by 20 and 35 degrees, with axes LPS."""

    def make(shape: Sequence[int], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Grid:
        a, b = np.radians([20, 35])
        turn_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        affine = np.eye(4)
        affine[:3, :3] = turn_z @ turn_x @ np.diag([-1, -1, 1]) @ np.diag(spacing)
        affine[:3, 3] = (7.5, -20.25, 3)
        i, j, k = shape
        return Grid((i, j, k), affine)

    return make


@pytest.fixture
def sheared() -> MakeGrid:
    """Make a grid like that of a CT with the gantry tilted by 15 degrees."""

    def make(shape: Sequence[int], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Grid:
        affine = np.diag([*spacing, 1.0])
        affine[1, 2] = spacing[2] * np.tan(np.radians(15))
        i, j, k = shape
        return Grid((i, j, k), affine)

    return make


@pytest.fixture
def sphere() -> Callable[[Grid, Sequence[float], float], NDArray[np.bool_]]:
    """Mark the voxels whose centres lie within a radius in mm of a voxel index (fractions allowed)."""

    def make(grid: Grid, centre: Sequence[float], radius_mm: float) -> NDArray[np.bool_]:
        index = np.moveaxis(np.indices(grid.shape), 0, -1)
        away = grid.to_world(index) - grid.to_world(centre)
        return np.asarray((away**2).sum(-1) <= radius_mm**2 + 1e-6)

    return make


@pytest.fixture
def labelled() -> Callable[..., Segmentation]:
    """Paint masks by name, values 1, 2, … in the order given, into one layer of uint8."""

    def make(grid: Grid, **masks: NDArray[np.bool_]) -> Segmentation:
        table = LabelTable(tuple(Label(value, name) for value, name in enumerate(masks, start=1)))
        return Segmentation.from_masks(masks, grid, table)

    return make


@pytest.fixture
def objects() -> Segmentation:
    """A layer of objects, which steps on labels must refuse."""
    array = np.zeros((1, 4, 4, 4), np.uint8)
    array[0, 1:3, 1:3, 1:3] = 1
    table = LabelTable((Label(1, "nucleus"),))
    return Segmentation(array, Grid((4, 4, 4), np.eye(4)), table, kinds=("objects",))


@pytest.fixture
def any_image() -> Callable[[Segmentation | Grid], Volume]:
    """An image of zeros on the grid of a segmentation, for steps that do not look at it."""

    def make(place: Segmentation | Grid) -> Volume:
        grid = place if isinstance(place, Grid) else place.grid
        return Volume(np.zeros((1, *grid.shape), np.int16), grid)

    return make


@pytest.fixture
def two_channels() -> Callable[[Grid], Volume]:
    """Reproducible noise: a channel of int16-like Hounsfield values and one of another scale, as float32."""

    def make(grid: Grid) -> Volume:
        random = np.random.default_rng(7)
        array: NDArray[Any] = np.stack([random.normal(40, 200, grid.shape), random.gamma(2, 3, grid.shape)])
        return Volume(array.astype(np.float32), grid, ("ct", "pet"))

    return make
