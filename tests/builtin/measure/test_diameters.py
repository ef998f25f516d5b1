import numpy as np
import pytest
from closed_forms import ball, measured, segmented, turned_grid

from medseg.builtin.measure.diameters import Diameters
from medseg.volume import Grid, Volume


def test_the_diameters_of_each_label_and_its_slice_in_the_image() -> None:
    grid = turned_grid((1, 1, 2), 0, extent_mm=60)
    small = grid.to_world([15, 15, 21])
    masks = {"large": ball(grid, grid.to_world([40, 40, 12]), 14), "small": ball(grid, small, 6)}
    found = measured(Diameters(), segmented(grid, **masks))
    for name, diameter, at in (("large", 28, 12), ("small", 12, 21)):
        for quantity in ("longest_axial_diameter", "perpendicular_axial_diameter", "feret_diameter"):
            row = found[name, None, quantity]
            assert row.value == pytest.approx(diameter, abs=2)
            assert row.unit == "mm"
        assert found[name, None, "axial_slice"].value == at


def test_a_label_that_is_nowhere_has_the_same_rows_without_values() -> None:
    grid = turned_grid((2, 2, 2), 0)
    found = measured(
        Diameters(), segmented(grid, spot=ball(grid, grid.centre, 9), gone=np.zeros(grid.shape, bool))
    )
    rows = [found["gone", None, name] for label, _, name in found if label == "spot"]
    assert len(rows) == 4
    assert {(row.value, row.flag) for row in rows} == {(None, "empty")}


def test_a_picture_has_diameters_in_pixels_and_none_in_space() -> None:
    grid = Grid((30, 20, 1), np.eye(4), "px")
    mask = np.zeros(grid.shape, bool)
    mask[3:23, 5, 0] = True
    picture = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    found = measured(Diameters(), segmented(grid, line=mask), volume=picture)
    assert [key[2] for key in found] == [
        "longest_axial_diameter",
        "perpendicular_axial_diameter",
        "axial_slice",
    ]
    row = found["line", None, "longest_axial_diameter"]
    assert row.value == pytest.approx(20)
    assert row.unit == "px"
    assert found["line", None, "perpendicular_axial_diameter"].value == pytest.approx(1)
