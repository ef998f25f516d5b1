"""What is measured of balls of 20 mm radius, wherever they lie on a grid: 20 places on each of four grids."""

from typing import Any

import numpy as np
import pytest
from closed_forms import GRIDS, THICK, Mask, ball, measured, middle, places, segmented, turned_grid

from medseg.builtin.measure.crofton import surface_area
from medseg.builtin.measure.farthest import farthest_in_slice, feret_diameter, slicing_axis
from medseg.builtin.measure.volumes import Volumes
from medseg.inference.soft_volume import SoftVolumeSink
from medseg.prediction import Prediction, Scores
from medseg.volume import Grid

RADIUS = 20.0
BALL_ML = 4 / 3 * np.pi * RADIUS**3 / 1000  # 33.5
BALL_MM2 = 4 * np.pi * RADIUS**2
PLACES = 20
SHARES = 4  # parts of a voxel along each axis


def lying(spacing: tuple[float, float, float], degrees: float) -> tuple[Grid, list[Any]]:
    random = np.random.default_rng(20)
    grid = turned_grid(spacing, degrees)
    return grid, [middle(grid, random) for _ in range(PLACES)]


@pytest.mark.parametrize(("spacing", "degrees"), GRIDS)
def test_volume_of_voxels(spacing: tuple[float, float, float], degrees: float) -> None:
    grid, centres = lying(spacing, degrees)
    errors = [np.count_nonzero(ball(grid, c, RADIUS)) * grid.voxel_ml / BALL_ML - 1 for c in centres]
    assert np.abs(errors).max() <= (0.025 if spacing == THICK else 0.003)
    found = measured(Volumes(), segmented(grid, ball=ball(grid, centres[0], RADIUS)))
    assert found["ball", None, "volume"].value == pytest.approx((1 + errors[0]) * BALL_ML)


def occupancy(grid: Grid, centre: Any) -> Any:
    """The share of each voxel that lies in the ball."""
    parts = (np.arange(SHARES) + 0.5) / SHARES - 0.5
    filled = np.zeros(grid.shape)
    there = places(grid, centre)
    near = np.abs(np.linalg.norm(there, axis=-1) - RADIUS) <= np.linalg.norm(grid.spacing)
    filled[~near] = np.linalg.norm(there[~near], axis=-1) < RADIUS
    offsets = np.stack(np.meshgrid(parts, parts, parts, indexing="ij"), axis=-1).reshape(-1, 3)
    for offset in offsets @ grid.affine[:3, :3].T:
        filled[near] += (np.linalg.norm(there[near] + offset, axis=-1) < RADIUS) / len(offsets)
    return filled


@pytest.mark.parametrize(("spacing", "degrees"), GRIDS)
def test_volume_with_shares_of_voxels(spacing: tuple[float, float, float], degrees: float) -> None:
    """Probabilities that say how much of a voxel is in the ball are summed as a network's are."""
    grid, centres = lying(spacing, degrees)
    for centre in centres[:: 1 if spacing == THICK else 5]:
        share = occupancy(grid, centre)
        segmentation = segmented(grid, ball=share >= 0.5)
        sink = SoftVolumeSink(segmentation.labels, grid=grid, axis=0, activation="softmax")
        sink.begin((slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
        sink.take(Scores(np.stack([1 - share, share]).astype(np.float32), grid, "probabilities"), 0)
        prediction = Prediction(segmentation=segmentation, soft_ml=sink.finish())
        found = measured(Volumes(soft=True), segmentation, prediction=prediction)
        assert found["ball", None, "soft_volume"].value == pytest.approx(BALL_ML, rel=0.01)


@pytest.mark.parametrize(("spacing", "degrees"), GRIDS)
def test_diameters_and_surface(spacing: tuple[float, float, float], degrees: float) -> None:
    grid, centres = lying(spacing, degrees)
    assert slicing_axis(grid) == 2
    for centre in centres:
        whole = ball(grid, centre, RADIUS)
        mask, own = cropped(whole, grid)
        in_slice = farthest_in_slice(mask, own, 2)
        assert in_slice.longest.length == pytest.approx(2 * RADIUS, abs=spacing[0])
        assert in_slice.perpendicular.length == pytest.approx(2 * RADIUS, abs=spacing[0])
        assert feret_diameter(mask, own) == pytest.approx(2 * RADIUS, abs=spacing[2])
        assert surface_area(mask, own) == pytest.approx(BALL_MM2, rel=0.05)


def cropped(mask: Mask, grid: Grid) -> tuple[Mask, Grid]:
    index = np.argwhere(mask)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return mask[part], grid.cropped(low.tolist(), high.tolist())
