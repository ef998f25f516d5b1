from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a test module

from medseg.builtin.metric.boundary_iou import BoundaryIou
from medseg.builtin.metric.iou import Iou
from medseg.errors import GeometryError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Make = Callable[..., Any]


def by_hand(masks: list[NDArray[np.bool_]], grid: Grid, distance_mm: float) -> float:
    """Every voxel of a mask against every voxel outside it, the next ones outside the image too; those with
    a face in common are taken at any distance."""
    rims = []
    for mask in masks:
        padded = np.pad(mask, 1)
        inside, outside = (grid.to_world(np.argwhere(each)) for each in (padded, ~padded))
        apart = np.linalg.norm(inside[:, None] - outside[None], axis=-1).min(axis=1)
        rim = np.zeros(padded.shape, bool)
        rim[padded] = apart <= distance_mm + 1e-6
        for axis in range(3):
            for step in (-1, 1):
                rim |= padded & ~np.roll(padded, step, axis)
        rims.append(rim)
    return float((rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum())


@pytest.mark.parametrize("kind", ["straight", "oblique", "sheared"])
@pytest.mark.parametrize("distance", [1.2, 2.3])
def test_it_is_what_all_pairs_of_voxels_give(
    kind: str, distance: float, request: pytest.FixtureRequest, labelled: Make
) -> None:
    grid = request.getfixturevalue(kind)((12, 11, 8), (0.7, 1.1, 2.0))
    rng = np.random.default_rng(5)
    one, two = (np.asarray(ndimage.gaussian_filter(rng.normal(size=grid.shape), 2) > -0.03) for _ in range(2))
    (row,) = BoundaryIou(distance_mm=distance)(labelled(grid, a=one), labelled(grid, a=two))
    assert row.value == pytest.approx(by_hand([one, two], grid, distance))


def test_of_squares_in_a_plane(straight: Make, labelled: Make) -> None:
    """Squares of 20 and 18 with one centre, rims of 2 pixels: of 144 and 128, the inner pixel of the outer
    rim, 68, is common."""
    grid = straight((30, 30, 1), (1, 1, 9))
    large, small = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    large[5:25, 5:25], small[6:24, 6:24] = True, True
    (row,) = BoundaryIou(distance_mm=2)(labelled(grid, a=large), labelled(grid, a=small))
    assert row.value == pytest.approx(68 / (144 + 128 - 68))


def test_it_sees_at_the_border_what_iou_does_not(straight: Make, labelled: Make, sphere: Make) -> None:
    grid = straight((60, 60, 60))
    pair = [labelled(grid, a=sphere(grid, (30, 30, 30), radius)) for radius in (24, 25)]
    (whole,), (rim,) = Iou()(*pair), BoundaryIou(distance_mm=2)(*pair)
    assert float(whole.value or 0) > 0.85
    assert float(rim.value or 1) < 0.6


def test_of_thin_parts_it_is_the_iou(straight: Make, labelled: Make) -> None:
    grid = straight((20, 20, 10))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[3:15, 3:6, 3:6], two[5:17, 3:6, 3:6] = True, True
    (iou,), (rim,) = (
        metric(labelled(grid, a=one), labelled(grid, a=two)) for metric in (Iou(), BoundaryIou())
    )
    assert rim.value == iou.value


def test_a_depth_below_the_voxels_takes_those_beside_the_border(straight: Make, labelled: Make) -> None:
    grid = straight((12, 12, 12), (2, 2, 5))
    mask = np.zeros(grid.shape, bool)
    mask[3:9, 3:9, 3:9] = True
    (row,) = BoundaryIou(distance_mm=0.1)(labelled(grid, a=mask), labelled(grid, a=mask))
    assert row.value == 1


def test_voxels_beside_the_border_are_in_the_rim_across_thick_slices_too(
    straight: Make, labelled: Make
) -> None:
    """A block of 20 x 20 x 6 whose top slice is missing. At 2 mm on voxels of 2 x 2 x 5 mm the rim is one
    voxel: a ring of 76 in each of four slices and the whole of the top and the bottom, 400 each."""
    grid = straight((30, 30, 12), (2, 2, 5))
    block, short = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    block[5:25, 5:25, 3:9], short[5:25, 5:25, 3:8] = True, True
    (rim,), (iou,) = (
        metric(labelled(grid, a=short), labelled(grid, a=block)) for metric in (BoundaryIou(), Iou())
    )
    common = 400 + 4 * 76  # bottom, and of the shorter block's top its ring alone
    assert rim.value == pytest.approx(common / ((4 * 76 + 800) + (3 * 76 + 800) - common))
    assert float(rim.value or 1) < float(iou.value or 0) - 0.2


@pytest.mark.parametrize("shape", [(6, 1, 5), (6, 1, 1)])
def test_an_axis_of_one_voxel_has_no_border(shape: Any, straight: Make, labelled: Make) -> None:
    grid = straight(shape, (2, 2, 2))
    whole, bored = np.ones(grid.shape, bool), np.ones(grid.shape, bool)
    bored[2:4, :, shape[2] // 2] = False
    rims = [
        ndimage.binary_dilation(np.pad(~each.squeeze(), 1, constant_values=True)) for each in (whole, bored)
    ]
    cut = (slice(1, -1),) * rims[0].ndim
    ours, theirs = (rim[cut] & each.squeeze() for rim, each in zip(rims, (whole, bored), strict=True))
    (row,) = BoundaryIou(distance_mm=0.1)(labelled(grid, a=whole), labelled(grid, a=bored))
    assert row.value == pytest.approx((ours & theirs).sum() / (ours | theirs).sum())


def test_empty_masks(straight: Make, sheared: Make, labelled: Make) -> None:
    for grid in (straight((8, 8, 8)), sheared((8, 8, 8)), straight((8, 8, 1))):
        none, some = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
        some[2:5, 2:5] = True
        prediction = labelled(grid, missed=none, made_up=some, neither=none)
        reference = labelled(grid, missed=some, made_up=none, neither=none)
        assert [(row.value, row.flag) for row in BoundaryIou()(prediction, reference)] == [
            (0.0, "absent from prediction"),
            (0.0, "absent from reference"),
            (None, "absent from both"),
        ]


def test_pictures_without_a_scale_are_refused() -> None:
    grid = Grid((9, 9, 1), np.eye(4), "px")
    picture = Segmentation(np.ones((1, 9, 9, 1), np.uint8), grid, LabelTable((Label(1, "a"),)))
    with pytest.raises(GeometryError, match="boundary-iou needs a scale"):
        list(BoundaryIou()(picture, picture))
