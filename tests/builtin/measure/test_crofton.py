import numpy as np
import pytest
import SimpleITK as sitk  # noqa: TID253 - a test module
from closed_forms import box, ellipsoid, ellipsoid_area, middle, turned_grid

from medseg.builtin.measure.crofton import surface_area
from medseg.volume import Grid

RADII = (24.0, 16.0, 10.0)
SIZE = (40.0, 30.0, 20.0)
BOX_MM2 = 2 * (40 * 30 + 30 * 20 + 20 * 40)


@pytest.mark.parametrize("degrees", [0, 30])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.7, 2), (1, 1, 5), (2, 1, 1)])
def test_ellipsoids_are_right_to_5_percent(spacing: tuple[float, float, float], degrees: float) -> None:
    grid = turned_grid(spacing, degrees)
    for seed in range(3):
        mask = ellipsoid(grid, middle(grid, np.random.default_rng(seed)), RADII, degrees=17 * seed)
        assert surface_area(mask, grid) == pytest.approx(ellipsoid_area(RADII), rel=0.05)


@pytest.mark.parametrize("degrees", [17, 30, 45])
@pytest.mark.parametrize(("spacing", "off"), [((1, 1, 1), 0.05), ((0.7, 0.7, 2), 0.05), ((1, 1, 5), 0.12)])
def test_turned_boxes_lose_no_more_than_their_edges(
    spacing: tuple[float, float, float], off: float, degrees: float
) -> None:
    """A line that cuts off less of an edge than a step is not counted; at 5 mm, 20 mm are four voxels."""
    grid = turned_grid(spacing, 0)
    mask = box(grid, middle(grid, np.random.default_rng(1)), SIZE, degrees)
    assert surface_area(mask, grid) == pytest.approx(BOX_MM2, rel=off)


def of_simpleitk(mask: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """By 13 directions."""
    image = sitk.GetImageFromArray(mask.T.astype(np.uint8))
    image.SetSpacing(spacing)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(image)
    return float(statistics.GetPerimeter(1))


def test_is_that_of_simpleitk_on_cubes_and_nearer_to_the_truth_elsewhere() -> None:
    cubes, thicker = (1.0, 1.0, 1.0), (0.8, 0.8, 1.2)
    area = ellipsoid_area(RADII)
    for spacing in (cubes, thicker):
        grid = turned_grid(spacing, 0)
        mask = ellipsoid(grid, middle(grid, np.random.default_rng(5)), RADII, degrees=20)
        own, other = surface_area(mask, grid), of_simpleitk(mask, spacing)
        if spacing == cubes:
            assert own == pytest.approx(other, rel=0.02)
        else:
            assert abs(own - area) < abs(other - area)


def test_the_same_surface_in_every_order_of_the_axes() -> None:
    grid = turned_grid((1, 1.5, 3), 30)
    mask = ellipsoid(grid, middle(grid, np.random.default_rng(2)), RADII)
    area = surface_area(mask, grid)
    for codes in ("RAS", "LPS", "SAR", "ASL"):
        other = grid.reoriented(codes)
        index = np.rint(grid.to_index(other.to_world(np.moveaxis(np.indices(other.shape), 0, -1)))).astype(
            int
        )
        assert surface_area(mask[tuple(np.moveaxis(index, -1, 0))], other) == pytest.approx(area, rel=1e-6)


def test_a_sheared_grid_has_the_surface_of_the_straight_one() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 2 * np.tan(np.radians(15))
    grid = Grid((60, 80, 30), affine)
    mask = ellipsoid(grid, grid.centre, (20, 20, 20))
    assert surface_area(mask, grid) == pytest.approx(4 * np.pi * 400, rel=0.03)


def test_two_bodies_have_the_surface_of_both_and_a_scale_counts_squared() -> None:
    mask = np.zeros((20, 10, 10), bool)
    mask[1:7, 2:8, 2:8] = mask[13:19, 2:8, 2:8] = True
    one = surface_area(mask[1:7, 2:8, 2:8], Grid((6, 6, 6), np.eye(4)))
    assert surface_area(mask, Grid(mask.shape, np.eye(4))) == pytest.approx(2 * one, rel=1e-12)
    scaled = Grid(mask.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    assert surface_area(mask, scaled) == pytest.approx(18 * one, rel=1e-9)
