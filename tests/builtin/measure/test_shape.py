import numpy as np
import pytest
import SimpleITK as sitk  # noqa: TID253 - a test module
from closed_forms import ball, box, ellipsoid, measured, segmented, turned_grid

from medseg.builtin.measure.shape import Shape, axis_lengths
from medseg.errors import GeometryError
from medseg.volume import Grid, Source, Volume

FROM_MOMENTS = np.sqrt(5 / 4)  # the diameter of an ellipsoid over 4 √λ


def test_a_ball_is_round_and_a_cube_less_so() -> None:
    grid = turned_grid((1, 1, 1), 30, extent_mm=44)
    found = measured(Shape(), segmented(grid, ball=ball(grid, grid.centre, 20)))
    assert found["ball", None, "surface_area"].value == pytest.approx(4 * np.pi * 400, rel=0.01)
    assert found["ball", None, "surface_area"].unit == "mm²"
    assert found["ball", None, "sphericity"].value == pytest.approx(1, abs=0.01)
    for name in ("elongation", "flatness"):
        assert found["ball", None, name].value == pytest.approx(1, abs=0.01)
    cube = measured(Shape(), segmented(grid, cube=box(grid, grid.centre, (24, 24, 24), 20)))
    assert cube["cube", None, "sphericity"].value == pytest.approx((np.pi / 6) ** (1 / 3), abs=0.05)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0)])
def test_the_axes_of_an_ellipsoid_are_its_diameters(spacing: tuple[float, float, float]) -> None:
    grid = turned_grid(spacing, 30)
    mask = ellipsoid(grid, grid.centre, (24, 16, 10), degrees=10)
    lengths = np.array(axis_lengths(mask, grid)) * FROM_MOMENTS
    assert lengths == pytest.approx([20, 32, 48], rel=0.02 if spacing[2] == 1 else 0.06)
    found = measured(Shape(), segmented(grid, body=mask))
    assert found["body", None, "elongation"].value == pytest.approx(16 / 24, abs=0.02)
    assert found["body", None, "flatness"].value == pytest.approx(10 / 24, abs=0.03)


def test_the_axes_of_a_box_of_voxels_are_exact() -> None:
    grid = Grid((20, 20, 20), np.diag([0.5, 1.0, 2.0, 1.0]))
    mask = np.zeros(grid.shape, bool)
    mask[2:18, 5:14, 3:6] = True  # 8 x 9 x 6 mm
    assert axis_lengths(mask, grid) == pytest.approx(np.array([6, 8, 9]) * 4 / np.sqrt(12))


def test_moments_are_those_of_simpleitk_and_of_a_voxel() -> None:
    """SimpleITK takes voxels for points; a cube of 1.5 mm has moments of its own."""
    spacing = (1.5, 1.5, 1.5)
    grid = turned_grid(spacing, 0)
    mask = ellipsoid(grid, grid.centre, (24, 16, 10), degrees=25)
    image = sitk.GetImageFromArray(mask.T.astype(np.uint8))
    image.SetSpacing(spacing)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputeFeretDiameterOff()
    statistics.Execute(image)
    moments = np.array(statistics.GetPrincipalMoments(1)) + 1.5**2 / 12
    assert axis_lengths(mask, grid) == pytest.approx(tuple(4 * np.sqrt(moments)), rel=1e-6)


def test_a_label_that_is_nowhere_has_the_same_rows_without_values() -> None:
    grid = turned_grid((2, 2, 2), 0)
    found = measured(
        Shape(), segmented(grid, ball=ball(grid, grid.centre, 9), gone=np.zeros(grid.shape, bool))
    )
    rows = [found["gone", None, name] for label, _, name in found if label == "ball"]
    assert {(row.value, row.flag) for row in rows} == {(None, "empty")}
    assert [row.unit for row in rows] == [row.unit for key, row in found.items() if key[0] == "ball"]


def test_pixels_have_no_surface() -> None:
    grid = Grid((5, 5, 1), np.eye(4), "px")
    with pytest.raises(GeometryError, match="shape needs a scale"):
        measured(Shape(), segmented(grid, spot=np.ones(grid.shape, bool)))


def test_flat_pictures_have_no_surface() -> None:
    grid = Grid((5, 5, 1), np.eye(4))
    picture = Volume(np.zeros((1, 5, 5, 1), np.uint8), grid, source=Source(grid, "PNG"))
    with pytest.raises(GeometryError, match="flat picture; leave shape out"):
        measured(Shape(), segmented(grid, spot=np.ones(grid.shape, bool)), volume=picture)
