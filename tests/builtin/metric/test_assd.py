from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import blob, tensors

from medseg.builtin.metric.assd import Assd
from medseg.builtin.metric.surface_elements import Surface

Make = Callable[..., Any]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0)], ids=["cubes", "slices"])
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI gives it itself
def test_by_voxels_it_is_what_monai_gives(
    straight: Make, oblique: Make, labelled: Make, spacing: tuple[float, float, float]
) -> None:
    from monai.metrics.surface_distance import compute_average_surface_distance

    rng = np.random.default_rng(11)
    one, two = blob(rng, (26, 22, 18)), blob(rng, (26, 22, 18))
    expected = float(
        compute_average_surface_distance(
            *tensors(one, two), include_background=True, symmetric=True, spacing=spacing
        )
    )
    for make in (straight, oblique):
        grid = make(one.shape, spacing)
        (row,) = Assd(surface="voxels")(labelled(grid, a=one), labelled(grid, a=two))
        assert row.value == pytest.approx(expected, rel=1e-5)
        assert (row.quantity, row.unit, row.flag) == ("assd", "mm", "")


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.5)], ids=["cubes", "slices"])
def test_concentric_spheres_are_apart_by_the_difference_of_their_radii(
    oblique: Make, labelled: Make, sphere: Make, spacing: tuple[float, float, float]
) -> None:
    shape = np.ceil(np.array([62, 62, 62]) / spacing).astype(int)
    grid = oblique(shape, spacing)
    centre = (np.asarray(grid.shape) - 1) / 2
    small, large = sphere(grid, centre, 18), sphere(grid, centre, 24)
    (row,) = Assd(surface="patches")(labelled(grid, a=small), labelled(grid, a=large))
    assert row.value == pytest.approx(6, abs=0.25)


def test_voxels_of_slices_count_a_lid_more_than_it_is(straight: Make, labelled: Make) -> None:
    """A box of 40 x 40 x 40 mm whose lid is lifted by 5 mm, on slices of 5 mm.

    Exact: the higher lid, 1600 mm2, is 5 mm away, the sides below it, 800 mm2, 2.5 mm in the mean. Of the
    lower lid 30 x 30 mm2 are 5 mm away, and what lies around them as far as from the sides of the higher box.
    The surfaces have 9600 and 10400 mm2.
    """
    grid = straight((48, 48, 16), (1, 1, 5))
    low, high = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    low[4:44, 4:44, 2:10], high[4:44, 4:44, 2:11] = True, True
    lower = 900 * 5 + 80 * 5**2 - 8 / 3 * 5**3  # the integral of d x 4 (40 - 2 d) up to 5 mm
    exact = (1600 * 5 + 800 * 2.5 + lower) / (9600 + 10400)
    values: dict[str, float] = {}
    surfaces: tuple[Surface, ...] = ("corners", "patches", "voxels")
    for surface in surfaces:
        (row,) = Assd(surface=surface)(labelled(grid, a=high), labelled(grid, a=low))
        values[surface] = float(row.value or 0)
    assert values["corners"] == pytest.approx(exact, rel=0.02)
    assert values["patches"] == pytest.approx(exact, rel=0.05)
    assert values["voxels"] > 1.3 * exact


def test_the_same_mask_has_no_distance(sheared: Make, labelled: Make) -> None:
    grid = sheared((16, 14, 12), (1, 1, 3))
    mask = blob(np.random.default_rng(2), grid.shape)
    (row,) = Assd()(labelled(grid, a=mask), labelled(grid, a=mask))
    assert row.value == 0


def test_empty_masks_have_no_distance(straight: Make, labelled: Make) -> None:
    grid = straight((8, 8, 8))
    none, some = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    some[2:5, 2:5, 2:5] = True
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Assd()(prediction, reference)] == [
        (None, "absent from prediction"),
        (None, "absent from reference"),
        (None, "absent from both"),
    ]
    assert Assd.better == "low"
