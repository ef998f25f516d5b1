from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import blob, tensors
from numpy.typing import NDArray

from medseg.builtin.metric.nsd import Nsd
from medseg.errors import GeometryError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Make = Callable[..., Any]


def monai(one: NDArray[np.bool_], two: NDArray[np.bool_], spacing: tuple[float, ...], **how: Any) -> float:
    from monai.metrics.surface_dice import compute_surface_dice

    return float(compute_surface_dice(*tensors(one, two), include_background=True, spacing=spacing, **how))


@pytest.mark.parametrize("tolerance", [0.5, 1.3, 4.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0)], ids=["cubes", "slices"])
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI gives it itself
def test_it_is_what_monai_gives(
    straight: Make, oblique: Make, labelled: Make, spacing: tuple[float, float, float], tolerance: float
) -> None:
    """By area where it is told to look between voxels, by voxels where it is not."""
    rng = np.random.default_rng(11)
    one, two = blob(rng, (26, 22, 18)), blob(rng, (26, 22, 18))
    for make in (straight, oblique):
        grid = make(one.shape, spacing)
        pair = labelled(grid, a=one), labelled(grid, a=two)
        (area,) = Nsd(tolerance_mm=tolerance)(*pair)
        (voxels,) = Nsd(tolerance_mm=tolerance, surface="voxels")(*pair)
        expected = monai(one, two, spacing, class_thresholds=[tolerance], use_subvoxels=True)
        assert area.value == pytest.approx(expected, abs=0.002)
        expected = monai(one, two, spacing, class_thresholds=[tolerance])
        assert voxels.value == pytest.approx(expected, abs=1e-6)


def test_what_a_voxel_more_in_one_direction_costs(straight: Make, labelled: Make) -> None:
    """A box of 40 x 40 x 40 mm whose lid is lifted by 5 mm, on slices of 5 mm, at a tolerance of 3 mm.

    Exact: too far are the higher lid, 1600 mm2, the upper 2 mm of the sides below it, 320 mm2, and of the
    lower lid what is more than 3 mm from those sides, 34 x 34 mm2.
    """
    grid = straight((48, 48, 16), (1, 1, 5))
    low, high = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    low[4:44, 4:44, 2:10], high[4:44, 4:44, 2:11] = True, True
    pair = labelled(grid, a=high), labelled(grid, a=low)
    exact = 1 - (1600 + 320 + 34**2) / (9600 + 10400)
    (area,), (voxels,) = Nsd(tolerance_mm=3)(*pair), Nsd(tolerance_mm=3, surface="voxels")(*pair)
    assert area.value == pytest.approx(exact, abs=0.005)
    assert isinstance(voxels.value, float)
    assert voxels.value < exact - 0.08


def test_exactly_the_tolerance_is_within_it(oblique: Make, labelled: Make) -> None:
    """Three voxels of 0.7 mm are 2.1 mm, in any rounding."""
    grid = oblique((24, 12, 12), (0.7, 0.7, 0.7))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[2:12, 2:10, 2:10] = two[5:15, 2:10, 2:10] = True
    pair = labelled(grid, a=one), labelled(grid, a=two)
    (at,), (below,) = Nsd(tolerance_mm=2.1)(*pair), Nsd(tolerance_mm=2.0)(*pair)
    assert (at.quantity, below.quantity) == ("nsd@2.1mm", "nsd@2mm")
    assert at.value == 1
    assert isinstance(below.value, float)
    assert below.value < 0.9


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight((8, 8, 8))
    none, some = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    some[2:5, 2:5, 2:5] = True
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Nsd()(prediction, reference)] == [
        (0.0, "absent from prediction"),
        (0.0, "absent from reference"),
        (None, "absent from both"),
    ]


def test_pictures_without_a_scale_are_refused() -> None:
    grid = Grid((9, 9, 1), np.eye(4), "px")
    picture = Segmentation(np.ones((1, 9, 9, 1), np.uint8), grid, LabelTable((Label(1, "a"),)))
    with pytest.raises(GeometryError, match="nsd needs a scale"):
        list(Nsd()(picture, picture))
