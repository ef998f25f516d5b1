from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import label  # noqa: TID253

from medseg.builtin.postprocess.opening import Opening
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
def test_the_bridge_of_a_dumbbell_goes(
    spacing: tuple[float, float, float],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    shape = tuple(round(n / s) for n, s in zip((70, 36, 36), spacing, strict=True))
    grid = oblique(shape, spacing)
    j, k = (shape[1] - 1) / 2, (shape[2] - 1) / 2
    ends = sphere(grid, (17 / spacing[0], j, k), 12) | sphere(grid, (52 / spacing[0], j, k), 12)
    centres = grid.to_world(np.moveaxis(np.indices(shape), 0, -1)) - grid.to_world([0, j, k])
    along = grid.affine[:3, 0] / spacing[0]
    square = (centres**2).sum(-1) - (centres @ along) ** 2
    index = np.arange(shape[0])[:, None, None] * spacing[0]
    bridge = (square <= 3**2) & (index > 17) & (index < 52)  # 6 mm thick
    before = labelled(grid, kidney=ends | bridge)
    assert label(before.mask("kidney"))[1] == 1
    after = Opening(radius_mm=5)(before, any_image(before)).mask("kidney")
    assert label(after)[1] == 2
    assert not (after & ~(ends | bridge)).any()
    assert (after & ends).sum() > 0.97 * ends.sum()
    # negative control: a ball that fits through the bridge leaves it
    kept = Opening(radius_mm=2)(before, any_image(before)).mask("kidney")
    assert label(kept)[1] == 1


def test_slabs_by_thickness_on_anisotropic_voxels(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((30, 30, 12), (1.0, 1.0, 3.0))
    for axis, voxels, survives in [(0, 7, True), (0, 5, False), (2, 3, True), (2, 1, False)]:
        mask = np.zeros(grid.shape, bool)
        slab: list[slice] = [slice(None)] * 3
        slab[axis] = slice(4, 4 + voxels)
        mask[tuple(slab)] = True
        before = labelled(grid, a=mask)
        after = Opening(radius_mm=3.5)(before, any_image(before)).mask("a")
        # the outside's centres are (voxels + 1) / 2 steps from the middle one: 4, 3, 6 and 3 mm
        assert np.array_equal(after, mask if survives else np.zeros_like(mask)), (axis, voxels)


def test_idempotent_and_never_larger(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    random = np.random.default_rng(3)
    grid = straight((24, 22, 20), (0.7, 1.1, 1.6))
    for share in (0.6, 0.9, 0.97):
        before = labelled(grid, a=random.random(grid.shape) < share)
        step = Opening(radius_mm=1.5)
        once = step(before, any_image(before))
        assert not (once.mask("a") & ~before.mask("a")).any()
        assert np.array_equal(step(once, any_image(before)).array, once.array)


def test_an_organ_cut_by_the_border_is_not_rounded_there(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 5:15, :] = True  # a bar through the whole image
    before = labelled(straight((20, 20, 20)), a=mask)
    after = Opening(radius_mm=3)(before, any_image(before)).mask("a")
    assert np.array_equal(after[..., 0], after[..., 10])
    assert after[5:15, 10, 0].all()
    cut_corner = np.zeros((20, 20, 20), bool)
    cut_corner[:8, :8, :8] = True
    before = labelled(straight((20, 20, 20)), a=cut_corner)
    assert Opening(radius_mm=3)(before, any_image(before)).mask("a")[0, 0, 0]


def test_radius_below_the_spacing_changes_nothing(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    before = labelled(straight((12, 12, 12)), a=np.random.default_rng(4).random((12, 12, 12)) < 0.5)
    assert np.array_equal(Opening(radius_mm=0.9)(before, any_image(before)).array, before.array)
    assert not np.array_equal(Opening(radius_mm=1)(before, any_image(before)).array, before.array)


def test_a_single_slice_is_opened_within_it(labelled: Labelled, any_image: AnyImage) -> None:
    mask = np.zeros((20, 20, 1), bool)
    mask[3:14, 3:14] = True
    mask[14:20, 8] = True  # a spike
    before = labelled(Grid((20, 20, 1), np.diag([1, 1, 0.1, 1])), a=mask)
    after = Opening(radius_mm=2)(before, any_image(before)).mask("a")
    assert not after[15:].any()  # the ball itself ends in one voxel, which fits into the foot of the spike
    assert after[3:14, 8].all()


def test_other_labels_stay(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    random = np.random.default_rng(5).random((2, 14, 14, 14)) < 0.7
    before = labelled(straight((14, 14, 14)), a=random[0], b=random[1])
    after = Opening(radius_mm=1, labels=("a",))(before, any_image(before))
    assert np.array_equal(after.mask("b"), before.mask("b"))
    assert after.mask("a").sum() < before.mask("a").sum()


def test_sheared_grids_pixels_objects_and_wrong_parameters_are_refused(
    refuses_alike: Callable[..., None],
) -> None:
    refuses_alike(Opening(radius_mm=2), "open", "radius_mm")
    for parameters in ({}, {"radius_mm": 0}, {"radius_mm": 3000}, {"radius": 2}):
        with pytest.raises(ValidationError):
            Opening.model_validate(parameters)
