from itertools import product

import numpy as np
import pytest
from closed_forms import THICK, box, ellipsoid, middle, turned_grid
from scipy.spatial import ConvexHull  # noqa: TID253 - a test module
from scipy.spatial.distance import pdist  # noqa: TID253 - a test module
from skimage.measure import marching_cubes  # noqa: TID253 - a test module

from medseg.builtin.measure.farthest import farthest_in_slice, feret_diameter, slicing_axis
from medseg.volume import Grid

UNIT = Grid((9, 9, 9), np.eye(4))
SHEARED = np.array([[0.9, 0.1, 0.3, 5.0], [0.0, 1.1, 0.4, 6.0], [0.2, 0.0, 2.5, 7.0], [0, 0, 0, 1.0]])


def face_middles(mask: np.ndarray, grid: Grid, axes: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """Every voxel's, by force."""
    halves = [sign * 0.5 * np.eye(3)[axis] for axis in axes for sign in (1, -1)]
    return grid.to_world((np.argwhere(mask)[:, None] + halves).reshape(-1, 3))


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([1.0, 2.0, 5.0, 1.0]), SHEARED])
@pytest.mark.parametrize("seed", range(4))
def test_the_diameters_of_any_voxels_are_those_of_all_pairs(affine: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((9, 8, 7)) < (0.02, 0.1, 0.5, 1.1)[seed]
    mask[4, 4, 3] = True
    grid = Grid(mask.shape, affine)
    assert feret_diameter(mask, grid) == pytest.approx(pdist(face_middles(mask, grid)).max())
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        lengths = []
        for at in range(mask.shape[axis]):
            slab = mask & (np.arange(mask.shape[axis]) == at).reshape(
                [-1 if n == axis else 1 for n in range(3)]
            )
            lengths.append(pdist(face_middles(slab, grid, others)).max() if slab.any() else 0.0)
        found = farthest_in_slice(mask, grid, axis)
        assert found.longest.length == pytest.approx(max(lengths))
        assert found.slice == int(np.isclose(lengths, max(lengths)).argmax())


def test_large_bodies_are_as_long_as_the_surface_of_marching_cubes() -> None:
    """Its corners lie half-way between voxels inside and outside, as the ends of diameters do."""
    grid = turned_grid((1, 1, 1), 0, extent_mm=52)
    mask = ellipsoid(grid, middle(grid, np.random.default_rng(3)), (24, 15, 9), degrees=25)
    corners, *_ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)
    hull = corners[ConvexHull(corners).vertices]
    assert feret_diameter(mask, grid) == pytest.approx(pdist(hull).max(), abs=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK])
def test_a_turned_box_is_as_long_as_its_diagonals(spacing: tuple[float, float, float]) -> None:
    grid = turned_grid(spacing, 30, extent_mm=60)
    mask = box(grid, grid.centre, (40, 30, 20), degrees=20)
    assert feret_diameter(mask, grid) == pytest.approx(np.sqrt(1600 + 900 + 400), abs=spacing[2])


def test_a_rectangle_has_its_diagonal_and_what_stands_on_it() -> None:
    grid = Grid((40, 30, 3), np.diag([0.5, 1.0, 4.0, 1.0]))
    mask = np.zeros(grid.shape, bool)
    mask[4:36, 5:21, 1] = True  # 16 x 16 mm
    found = farthest_in_slice(mask, grid, 2)
    assert found.longest.length == pytest.approx(16 * np.sqrt(2), abs=0.7)
    assert found.perpendicular.length == pytest.approx(16 * np.sqrt(2), abs=0.7)
    assert found.slice == 1


@pytest.mark.parametrize("degrees", [0, 37, 80])
def test_the_two_diameters_of_an_ellipse_are_its_axes(degrees: float) -> None:
    grid = Grid((70, 70, 1), np.eye(4))
    there = np.moveaxis(np.indices((70, 70)), 0, -1) - 34.3
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    mask = (((there @ np.array([[c, -s], [s, c]])) / (30, 12)) ** 2).sum(-1)[..., None] <= 1
    found = farthest_in_slice(mask, grid, 2)
    assert found.longest.length == pytest.approx(60, abs=1)
    assert found.perpendicular.length == pytest.approx(24, abs=1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_chords_end_on_their_slice_at_right_angles(axis: int) -> None:
    random = np.random.default_rng(axis)
    mask = random.random((12, 11, 10)) < 0.1
    grid = Grid(mask.shape, SHEARED)
    found = farthest_in_slice(mask, grid, axis)
    one, other = (np.subtract(*chord.ends) for chord in (found.longest, found.perpendicular))
    assert abs(one @ other) <= 1e-9 * np.linalg.norm(one) * np.linalg.norm(other)
    for chord in (found.longest, found.perpendicular):
        assert np.linalg.norm(np.subtract(*chord.ends)) == pytest.approx(chord.length)
        assert grid.to_index(chord.ends)[:, axis] == pytest.approx(found.slice)


def test_a_single_voxel_is_one_voxel_wide() -> None:
    grid = Grid((1, 1, 1), np.diag([0.7, 0.9, 5.0, 1.0]))
    found = farthest_in_slice(np.ones((1, 1, 1), bool), grid, 2)
    assert (found.longest.length, found.perpendicular.length) == pytest.approx((0.9, 0.7))
    assert feret_diameter(np.ones((1, 1, 1), bool), grid) == pytest.approx(5.0)


def test_flat_and_straight_masks_have_diameters() -> None:
    for flat in product((False, True), repeat=3):
        mask = np.zeros((30, 30, 30), bool)
        mask[tuple(slice(10, 11) if thin else slice(5, 25) for thin in flat)] = True
        sides = [1 if thin else 20 for thin in flat]
        longest = max(
            np.sqrt(sum((sides[n] - (0 if n == axis else 1)) ** 2 for n in range(3))) for axis in range(3)
        )
        assert feret_diameter(mask, Grid(mask.shape, np.eye(4))) == pytest.approx(longest)


def test_axial_slices_are_those_whose_normal_is_nearest_to_head_foot() -> None:
    for codes, axis in (("RAS", 2), ("LPS", 2), ("ASR", 1), ("SAR", 0), ("RIP", 1)):
        assert slicing_axis(UNIT.reoriented(codes)) == axis
    coronal = Grid((9, 1, 9), np.eye(4))
    assert slicing_axis(coronal) == 1
    assert slicing_axis(Grid((9, 9, 9), np.eye(4)[[2, 1, 0, 3]], "px")) == 2


def test_the_first_of_equal_slices_is_named() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 2:7, 3:8] = True
    assert farthest_in_slice(mask, UNIT, 2).slice == 3
