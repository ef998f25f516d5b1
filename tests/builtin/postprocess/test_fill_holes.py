from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import binary_fill_holes  # noqa: TID253

from medseg.builtin.postprocess.fill_holes import FillHoles
from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


def test_a_shell_becomes_a_ball(
    oblique: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = oblique((50, 50, 20), (1.0, 1.0, 2.5))
    ball, core = sphere(grid, (25, 25, 10), 20), sphere(grid, (25, 25, 10), 12)
    before = labelled(grid, liver=ball & ~core)
    after = FillHoles()(before, any_image(before))
    assert np.array_equal(after.mask("liver"), ball)
    assert after.mask("liver").sum() * grid.voxel_ml == pytest.approx(33.5, rel=0.01)


def test_agrees_with_scipy(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    random = np.random.default_rng(1)
    for _ in range(5):
        mask = random.random((15, 14, 13)) < 0.6
        before = labelled(straight((15, 14, 13)), a=mask)
        filled = FillHoles()(before, any_image(before)).mask("a")
        assert np.array_equal(filled, binary_fill_holes(mask))
        assert filled.sum() > mask.sum()
        planes = FillHoles(mode="slice")(before, any_image(before)).mask("a")
        expected = np.stack([binary_fill_holes(mask[..., k]) for k in range(13)], axis=-1)
        assert np.array_equal(planes, expected)


def test_other_labels_inside_stay(
    straight: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((30, 30, 30))
    ball, hole, tumour = (sphere(grid, (15, 15, 15), radius) for radius in (12, 8, 5))
    before = labelled(grid, liver=ball & ~hole, tumour=tumour)
    after = FillHoles(labels=("liver",))(before, any_image(before))
    assert np.array_equal(after.mask("tumour"), tumour)
    assert np.array_equal(after.mask("liver"), ball & ~tumour)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_across_the_coarsest_axis(
    axis: int, oblique: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.ones((7, 7, 7), bool)
    tunnel = tuple(slice(None) if a == axis else slice(3, 4) for a in range(3))
    mask[tunnel] = False  # open at both ends
    before = labelled(oblique((7, 7, 7), [5.0 if a == axis else 0.8 for a in range(3)]), a=mask)
    assert FillHoles(mode="slice")(before, any_image(before)).mask("a").all()
    assert np.array_equal(FillHoles()(before, any_image(before)).mask("a"), mask)  # open in space
    across = labelled(oblique((7, 7, 7), [5.0 if a == (axis + 1) % 3 else 0.8 for a in range(3)]), a=mask)
    assert np.array_equal(FillHoles(mode="slice")(across, any_image(across)).mask("a"), mask)


@pytest.mark.parametrize("codes", ["RAS", "SPL", "AIL"])
def test_equal_spacing_means_axial_slices(
    codes: str, straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.ones((7, 7, 7), bool)
    mask[3, 3, :] = False  # a tube along the body
    before = labelled(straight((7, 7, 7)), a=mask)
    before = before.onto(before.grid.reoriented(codes))
    assert FillHoles(mode="slice")(before, any_image(before)).mask("a").all()


def test_cavities_beyond_the_limit_stay_open(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.ones((12, 7, 7), bool)
    mask[2, 2, 2] = mask[5:8, 2:5, 2:5] = False  # cavities of 1 and 27 voxels
    tumour = np.zeros_like(mask)
    tumour[6, 3, 3] = True
    for masks in ({"a": mask}, {"a": mask, "tumour": tumour}):  # what lies in a cavity counts as part of it
        before = labelled(straight((12, 7, 7), (10, 10, 10)), **masks)  # 1 mL a voxel
        image = any_image(before)
        for max_ml, open_voxels in [(0.9, 28), (1.0, 27), (26.9, 27), (27.0, 0), (None, 0)]:
            after = FillHoles(labels=("a",), max_ml=max_ml)(before, image)
            left = int((~after.mask("a")).sum())
            inside = 1 if "tumour" in masks and open_voxels == 0 else 0
            assert left == open_voxels + inside, (max_ml, list(masks))


def test_solid_and_absent_labels_stay(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    solid = np.zeros((5, 5, 5), bool)
    solid[1:4, 1:4] = True
    before = labelled(straight((5, 5, 5)), a=solid, b=np.zeros_like(solid))
    for mode in ("3d", "slice"):
        after = FillHoles(mode=mode, max_ml=5)(before, any_image(before))
        assert np.array_equal(after.array, before.array)


@pytest.mark.parametrize("shape", [(5, 5, 1), (1, 5, 5)])
@pytest.mark.parametrize("mode", ["3d", "slice"])
def test_a_single_slice_is_filled_within_it(
    mode: str, shape: tuple[int, int, int], labelled: Labelled, any_image: AnyImage
) -> None:
    ring = np.ones(shape, bool)
    ring[tuple(n // 2 for n in shape)] = False
    picture = labelled(Grid(shape, np.eye(4), "px"), a=ring)
    assert FillHoles.model_validate({"mode": mode})(picture, any_image(picture)).mask("a").all()


def test_pixels_objects_and_wrong_parameters(
    labelled: Labelled, objects: Segmentation, any_image: AnyImage
) -> None:
    ring = np.ones((5, 5, 1), bool)
    ring[2, 2] = False
    picture = labelled(Grid((5, 5, 1), np.eye(4), "px"), a=ring)
    with pytest.raises(GeometryError, match="volume in mL needs a scale"):
        FillHoles(max_ml=1)(picture, any_image(picture))
    with pytest.raises(UsageError, match="layer of objects"):
        FillHoles()(objects, any_image(objects))
    for parameters in ({"mode": "2d"}, {"max_ml": 0}, {"fill": 1}):
        with pytest.raises(ValidationError):
            FillHoles.model_validate(parameters)
