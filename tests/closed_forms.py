"""Bodies with closed-form volumes, surfaces and lengths, on straight, anisotropic and turned grids."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from medseg.prediction import Measured, Prediction
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

Mask = NDArray[np.bool_]
Place = NDArray[np.float64]
THICK, FINE = (1.0, 1.0, 5.0), (1.0, 1.0, 1.0)
GRIDS = [(spacing, degrees) for spacing in (THICK, FINE) for degrees in (0, 30)]


def turn(degrees: float) -> Place:
    """A rotation about x after one of the same angle about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return np.asarray(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ about_z)


def turned_grid(spacing: tuple[float, float, float], degrees: float, extent_mm: float = 54.0) -> Grid:
    """A grid of about this extent along each axis, its axes turned."""
    i, j, k = (round(extent_mm / step) + 2 for step in spacing)
    affine = np.eye(4)
    affine[:3, :3] = turn(degrees) @ np.diag(spacing)
    affine[:3, 3] = (-31.5, 12.25, 107.0)
    return Grid((i, j, k), affine)


def middle(grid: Grid, random: np.random.Generator) -> Place:
    """A place within half a voxel of the grid's centre."""
    return grid.centre + grid.affine[:3, :3] @ random.uniform(-0.5, 0.5, 3)


def places(grid: Grid, centre: Place) -> Place:
    """Where voxel centres `[i, j, k, 3]` lie from a place, in mm."""
    return np.asarray(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - centre)


def ball(grid: Grid, centre: Place, radius: float) -> Mask:
    """Voxels whose centres lie within a radius."""
    return np.asarray((places(grid, centre) ** 2).sum(axis=-1) <= radius**2)


def ellipsoid(grid: Grid, centre: Place, radii: Iterable[float], degrees: float = 0) -> Mask:
    """Voxels whose centres lie in an ellipsoid, turned."""
    there = places(grid, centre) @ turn(degrees)
    return np.asarray(((there / np.array(list(radii))) ** 2).sum(axis=-1) <= 1)


def box(grid: Grid, centre: Place, size: Iterable[float], degrees: float = 0) -> Mask:
    """Voxels whose centres lie in a box, turned."""
    there = places(grid, centre) @ turn(degrees)
    return np.asarray((np.abs(there) <= np.array(list(size)) / 2).all(axis=-1))


def ellipsoid_area(radii: tuple[float, float, float]) -> float:
    """Surface of an ellipsoid, by the integral over directions on a fine lattice."""
    a, b, c = radii
    theta = (np.arange(400) + 0.5) * np.pi / 400
    phi = (np.arange(400) + 0.5) * np.pi / 200
    t, p = np.meshgrid(theta, phi, indexing="ij")
    sides = (
        (b * c * np.sin(t) * np.cos(p)) ** 2 + (a * c * np.sin(t) * np.sin(p)) ** 2 + (a * b * np.cos(t)) ** 2
    )
    return float((np.sqrt(sides) * np.sin(t)).sum() * (np.pi / 400) * (np.pi / 200))


def segmented(grid: Grid, **masks: Mask) -> Segmentation:
    """Masks by name, values 1, 2, … in the order given; underscores are spaces."""
    names = [name.replace("_", " ") for name in masks]
    table = LabelTable(tuple(Label(value, name) for value, name in enumerate(names, start=1)))
    return Segmentation.from_masks(dict(zip(names, masks.values(), strict=True)), grid, table)


def measured(
    step: Measurement,
    segmentation: Segmentation,
    *,
    volume: Volume | None = None,
    prediction: Prediction | None = None,
) -> dict[tuple[str, int | None, str], Measured]:
    """The checked rows of a measurement by label, object and quantity; none is there twice."""
    image = volume or Volume(np.zeros((1, *segmentation.grid.shape), np.int16), segmentation.grid)
    found = step(image, segmentation, prediction or Prediction(segmentation=segmentation))
    rows = Measurement.check(found, segmentation=segmentation)
    named = {(row.label, row.object, row.quantity): row for row in rows}
    assert len(named) == len(rows)
    return named
