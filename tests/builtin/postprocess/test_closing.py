from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import binary_closing, label  # noqa: TID253

from medseg.builtin.postprocess.closing import Closing
from medseg.builtin.postprocess.opening import Opening
from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


@pytest.mark.parametrize(("gap", "closes"), [(3, True), (9, False)])
def test_gaps_by_width(
    gap: int, closes: bool, straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((50, 30, 12), (1.0, 1.0, 3.0))
    mask = np.zeros(grid.shape, bool)
    mask[5:45, 5:25, 2:10] = True
    middle = (50 - gap) // 2
    mask[middle : middle + gap] = False
    before = labelled(grid, a=mask)
    after = Closing(radius_mm=4)(before, any_image(before)).mask("a")
    assert label(after)[1] == (1 if closes else 2)
    assert not (mask & ~after).any()
    outline = np.zeros(grid.shape, bool)
    outline[5:45, 5:25, 2:10] = True
    assert not (after & ~outline).any()
    if closes:
        assert after[5:45, 10:20, 4:8].all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.1, 1.6)])
def test_agrees_with_scipy_on_background_without_end(
    spacing: tuple[float, float, float], oblique: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    radius_mm = 2.05
    sides = [np.arange(-2, 3) * s for s in spacing]
    i, j, k = np.meshgrid(*sides, indexing="ij")
    element = i**2 + j**2 + k**2 <= radius_mm**2
    for share in (0.01, 0.05, 0.2):
        mask = np.random.default_rng(6).random((16, 15, 14)) < share  # up to the border of the image
        before = labelled(oblique((16, 15, 14), spacing), a=mask)
        after = Closing(radius_mm=radius_mm)(before, any_image(before)).mask("a")
        expected = binary_closing(np.pad(mask, 6), element)[6:-6, 6:-6, 6:-6]
        assert np.array_equal(after, expected)


def test_dual_to_opening_away_from_the_border(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((26, 26, 26), (0.8, 1.0, 1.5))
    mask = np.zeros(grid.shape, bool)
    mask[7:19, 7:19, 7:19] = np.random.default_rng(7).random((12, 12, 12)) < 0.3
    inside, outside = labelled(grid, a=mask), labelled(grid, a=~mask)
    closed = Closing(radius_mm=1.7)(inside, any_image(inside)).mask("a")
    opened = Opening(radius_mm=1.7)(outside, any_image(outside)).mask("a")
    assert np.array_equal(closed, ~opened)
    assert closed.sum() > mask.sum()


def test_idempotent_and_never_smaller(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    grid = straight((24, 22, 20), (0.7, 1.1, 1.6))
    for share in (0.02, 0.1, 0.5):
        before = labelled(grid, a=np.random.default_rng(8).random(grid.shape) < share)
        step = Closing(radius_mm=1.5)
        once = step(before, any_image(before))
        assert not (before.mask("a") & ~once.mask("a")).any()
        assert np.array_equal(step(once, any_image(before)).array, once.array)


def test_nothing_is_lost_or_bridged_at_the_border(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[:8] = True  # touches the border
    mask[12:18, 5:15, 5:15] = True  # two voxels from it
    before = labelled(straight((20, 20, 20)), a=mask)
    after = Closing(radius_mm=3)(before, any_image(before)).mask("a")
    assert not (mask & ~after).any()
    assert not after[18:].any()
    assert after[9, 10, 10]


def test_a_ball_stays_a_ball(
    oblique: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = oblique((50, 50, 20), (1.0, 1.0, 2.5))
    ball = sphere(grid, (25, 25, 10), 20)
    before = labelled(grid, liver=ball)
    after = Closing(radius_mm=5)(before, any_image(before)).mask("liver")
    assert after.sum() * grid.voxel_ml == pytest.approx(33.5, rel=0.02)


def test_only_background_is_taken(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    mask, wall = np.zeros((20, 12, 12), bool), np.zeros((20, 12, 12), bool)
    mask[3:17, 2:10, 2:10] = True
    mask[9:11] = False
    wall[9:10] = True
    before = labelled(straight((20, 12, 12)), a=mask, vessel=wall)
    after = Closing(radius_mm=3, labels=("a",))(before, any_image(before))
    assert np.array_equal(after.mask("vessel"), wall)
    assert after.mask("a")[10, 6, 6]


def test_a_single_slice_is_closed_within_it(labelled: Labelled, any_image: AnyImage) -> None:
    mask = np.zeros((30, 30, 1), bool)
    mask[5:25, 5:25] = True
    mask[14:16] = False
    before = labelled(Grid((30, 30, 1), np.diag([1, 1, 0.5, 1])), a=mask)
    after = Closing(radius_mm=3)(before, any_image(before)).mask("a")
    assert after[5:25, 15].all()


def test_sheared_grids_objects_and_wrong_parameters_are_refused(
    sheared: MakeGrid, labelled: Labelled, objects: Segmentation, any_image: AnyImage
) -> None:
    full = np.ones((4, 4, 4), bool)
    with pytest.raises(GeometryError, match="close needs axes at right angles"):
        Closing(radius_mm=2)(labelled(sheared((4, 4, 4)), a=full), any_image(objects))
    with pytest.raises(UsageError, match="layer of objects"):
        Closing(radius_mm=2)(objects, any_image(objects))
    for parameters in ({}, {"radius_mm": -1}, {"radius_mm": "wide"}):
        with pytest.raises(ValidationError):
            Closing.model_validate(parameters)
