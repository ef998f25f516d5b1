import numpy as np
import pytest

from medseg.builtin.write.surface import Surface, surface_of
from medseg.volume import Grid

SPACINGS = [(1.0, 1.0, 1.0), (0.9, 0.9, 5.0)]


def oblique(spacing: tuple[float, float, float], extent_mm: float = 56) -> Grid:
    a, b = np.radians([30, 25])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1, -1, 1]) @ np.diag(spacing)
    affine[:3, 3] = (7.5, -20.25, 3)
    i, j, k = (round(extent_mm / s) for s in spacing)
    return Grid((i, j, k), affine)


def ellipsoid(grid: Grid, radii: tuple[float, float, float]) -> np.ndarray:
    """An ellipsoid with its axes along x, y, z around the middle of the grid."""
    away = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.centre
    return np.asarray(((away / radii) ** 2).sum(-1) <= 1)


def found(mask: np.ndarray, grid: Grid, sigma_mm: float) -> Surface:
    surface = surface_of(mask, grid, sigma_mm=sigma_mm)
    assert surface is not None
    return surface


def is_closed(surface: Surface) -> bool:
    """Whether each edge belongs to two triangles, which run along it in opposite directions."""
    ends = surface.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    forth = ends[:, 0] * len(surface.vertices) + ends[:, 1]
    back = ends[:, 1] * len(surface.vertices) + ends[:, 0]
    return len(np.unique(forth)) == len(forth) and np.array_equal(np.sort(forth), np.sort(back))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radii", [(20.0, 20.0, 20.0), (24.0, 12.0, 16.0)])
@pytest.mark.parametrize("sigmas", [0.0, 0.7])
def test_volume_place_and_closedness_of_ellipsoids(
    spacing: tuple[float, float, float], radii: tuple[float, float, float], sigmas: float
) -> None:
    grid = oblique(spacing)
    mask = ellipsoid(grid, radii)
    surface = found(mask, grid, sigmas * max(spacing))
    assert surface.volume_mm3 == pytest.approx(mask.sum() * grid.voxel_ml * 1000, rel=0.005)
    assert surface.volume_mm3 == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.02)
    assert is_closed(surface)
    depth = np.linalg.norm((surface.vertices - grid.centre) / radii, axis=1)
    assert abs(depth - 1).max() < max(spacing) / min(radii)
    assert surface.vertices.mean(axis=0) == pytest.approx(grid.centre, abs=0.2)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_smoothing_brings_the_area_near_the_true_one(spacing: tuple[float, float, float]) -> None:
    grid = oblique(spacing)
    mask = ellipsoid(grid, (20, 20, 20))
    smooth, stepped = (found(mask, grid, sigma * max(spacing)).area_mm2 for sigma in (0.7, 0))
    assert smooth == pytest.approx(4 * np.pi * 400, rel=0.05)
    assert stepped > smooth


def test_a_small_ball_keeps_its_volume() -> None:
    """At level 0 a Gaussian of 3 mm would take a third of a ball of 5 mm."""
    grid = oblique((1, 1, 1), 40)
    mask = ellipsoid(grid, (5, 5, 5))
    assert found(mask, grid, 3).volume_mm3 == pytest.approx(mask.sum(), rel=0.02)


def test_a_box_of_voxels_has_its_volume_and_ends_at_its_faces() -> None:
    grid = Grid((12, 12, 12), np.diag([2.0, 1.0, 3.0, 1.0]))
    mask = np.zeros(grid.shape, bool)
    mask[3:9, 2:10, 4:8] = True
    surface = found(mask, grid, 0)
    assert surface.volume_mm3 == pytest.approx(12 * 8 * 12, rel=0.002)
    low, high = grid.to_world((2.5, 1.5, 3.5)), grid.to_world((8.5, 9.5, 7.5))
    assert surface.vertices.min(axis=0) == pytest.approx(low, abs=0.2)
    assert surface.vertices.max(axis=0) == pytest.approx(high, abs=0.2)


def test_what_the_image_cuts_off_is_closed() -> None:
    grid = Grid((10, 10, 10), np.eye(4))
    surface = found(np.ones(grid.shape, bool), grid, 0.7)
    assert is_closed(surface)
    assert surface.volume_mm3 == pytest.approx(1000, rel=0.005)
    slice_ = Grid((20, 20, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    flat = found(np.ones(slice_.shape, bool), slice_, 0.7)
    assert is_closed(flat)
    assert flat.volume_mm3 == pytest.approx(2000, rel=0.01)


def test_left_handed_and_sheared_grids_look_outwards_and_keep_the_volume() -> None:
    affine = np.diag([1.0, -1.0, 1.5, 1.0])
    affine[1, 2] = 0.4
    grid = Grid((44, 44, 30), affine)
    assert np.linalg.det(affine) < 0
    surface = found(ellipsoid(grid, (16, 14, 15)), grid, 1)
    assert surface.volume_mm3 == pytest.approx(4 / 3 * np.pi * 16 * 14 * 15, rel=0.02)
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = (normals * (corners.mean(axis=1) - grid.centre)).sum(axis=1)
    assert (outwards > 0).mean() > 0.99


def test_one_voxel_and_none() -> None:
    grid = Grid((5, 5, 5), np.eye(4))
    mask = np.zeros(grid.shape, bool)
    assert surface_of(mask, grid, sigma_mm=1) is None
    mask[2, 2, 2] = True
    surface = found(mask, grid, 0.7)
    assert is_closed(surface)
    assert surface.volume_mm3 == pytest.approx(1, rel=0.2)
    assert surface.vertices.mean(axis=0) == pytest.approx((2, 2, 2), abs=0.01)
