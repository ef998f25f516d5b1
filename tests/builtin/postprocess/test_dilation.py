from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt  # noqa: TID253

from medseg.builtin.postprocess.dilation import Dilation
from medseg.builtin.postprocess.erosion import Erosion
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation | Grid], Volume]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
def test_a_voxel_becomes_a_ball(
    spacing: tuple[float, float, float],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    grid = oblique(tuple(round(20 / s) for s in spacing), spacing)
    centre = tuple(n // 2 for n in grid.shape)
    before = labelled(grid, a=sphere(grid, centre, 0))
    after = Dilation(radius_mm=6)(before, any_image(before)).mask("a")
    assert np.array_equal(after, sphere(grid, centre, 6))


def test_agrees_with_scipy(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    grid = straight((26, 24, 22), (0.7, 1.1, 1.6))
    mask = np.random.default_rng(0).random(grid.shape) < 0.002
    before = labelled(grid, a=mask)
    after = Dilation(radius_mm=3.35)(before, any_image(before)).mask("a")
    assert np.array_equal(after, distance_transform_edt(~mask, sampling=grid.spacing) <= 3.35)


def test_dilation_of_the_inside_is_erosion_of_the_outside(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((18, 17, 16), (1.0, 1.3, 2.0))
    mask = np.random.default_rng(1).random(grid.shape) < 0.03
    grown = Dilation(radius_mm=2.2)(labelled(grid, a=mask), any_image(grid)).mask("a")
    shrunk = Erosion(radius_mm=2.2)(labelled(grid, a=~mask), any_image(grid)).mask("a")
    assert np.array_equal(grown, ~shrunk)


def test_only_background_is_taken_unless_a_label_is_named(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    shape = (12, 5, 5)
    masks = {name: np.zeros(shape, bool) for name in ("tumour", "liver", "vessel")}
    masks["tumour"][5:7, 2, 2] = True
    masks["liver"][:5], masks["vessel"][7:9] = True, True
    before = labelled(straight(shape), **masks)
    kept = Dilation(radius_mm=2, labels=("tumour",))(before, any_image(before))
    assert np.array_equal(kept.mask("liver"), masks["liver"])
    assert np.array_equal(kept.mask("vessel"), masks["vessel"])
    grown = Dilation(radius_mm=2, labels=("tumour",), over=("liver",))(before, any_image(before))
    assert grown.mask("tumour")[3:7, 2, 2].all()
    assert not grown.mask("tumour")[:3].any()
    assert np.array_equal(grown.mask("vessel"), masks["vessel"])
    assert grown.mask("liver").sum() == masks["liver"].sum() - (masks["liver"] & grown.mask("tumour")).sum()


def test_of_two_that_meet_the_first_has_the_gap(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    a, b = np.zeros((2, 7, 1, 1), bool)
    a[:2], b[5:] = True, True
    before = labelled(straight((7, 1, 1)), a=a, b=b)
    step = Dilation(radius_mm=2)
    assert step(before, any_image(before)).array.ravel().tolist() == [1, 1, 1, 1, 2, 2, 2]
    turned = Dilation(radius_mm=2, labels=("b", "a"))(before, any_image(before))
    assert turned.array.ravel().tolist() == [1, 1, 1, 2, 2, 2, 2]
    over = Dilation(radius_mm=2, over=("a",))(before, any_image(before))
    assert over.array.ravel().tolist() == [1, 1, 0, 2, 2, 2, 2]


def test_radius_below_the_spacing_and_the_border_of_the_image(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = True
    before = labelled(straight((4, 4, 4)), a=mask)
    assert np.array_equal(Dilation(radius_mm=0.9)(before, any_image(before)).array, before.array)
    assert Dilation(radius_mm=1)(before, any_image(before)).mask("a").sum() == 4


def test_sheared_grids_pixels_objects_and_wrong_parameters_are_refused(
    refuses_alike: Callable[..., None],
) -> None:
    refuses_alike(Dilation(radius_mm=2), "dilate", "radius_mm")
    for parameters in ({}, {"radius_mm": 0}, {"radius_mm": 2, "labels": ["a"], "over": ["a"]}):
        with pytest.raises(ValidationError):
            Dilation.model_validate(parameters)
