from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt  # noqa: TID253

from medseg.builtin.postprocess.erosion import Erosion
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
def test_a_sphere_becomes_a_smaller_sphere(
    spacing: tuple[float, float, float],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    shape = tuple(round(36 / s) for s in spacing)
    grid = oblique(shape, spacing)
    middle = (np.asarray(shape) - 1) / 2
    before = labelled(grid, liver=sphere(grid, middle, 15))
    after = Erosion(radius_mm=5)(before, any_image(before)).mask("liver")
    # outside voxels begin beyond 15 mm, so that what is left lies between two balls of about 10 mm
    assert not (sphere(grid, middle, 10) & ~after).any()
    assert not (after & ~sphere(grid, middle, 10 + max(spacing))).any()


def test_agrees_with_scipy_within_the_image(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((26, 24, 22), (0.7, 1.1, 1.6))
    mask = np.zeros(grid.shape, bool)
    mask[2:-2, 2:-2, 2:-2] = np.random.default_rng(0).random((22, 20, 18)) < 0.97
    before = labelled(grid, a=mask)
    after = Erosion(radius_mm=1.5)(before, any_image(before)).mask("a")
    assert np.array_equal(after, distance_transform_edt(mask, sampling=grid.spacing) > 1.5)


def test_an_organ_cut_by_the_border_keeps_its_voxels_there(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[4:16, 4:16, :] = True
    before = labelled(straight((20, 20, 20)), a=mask)
    after = Erosion(radius_mm=2)(before, any_image(before)).mask("a")
    expected = np.zeros_like(mask)
    expected[6:14, 6:14, :] = True
    assert np.array_equal(after, expected)


def test_other_labels_stay_and_what_is_removed_is_background(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    a, b = np.zeros((2, 12, 12, 12), bool)
    a[1:6, 1:11, 1:11] = b[6:11, 1:11, 1:11] = True
    before = labelled(straight((12, 12, 12)), a=a, b=b)
    after = Erosion(radius_mm=1, labels=("a",))(before, any_image(before))
    assert np.array_equal(after.mask("b"), b)
    assert after.mask("a").sum() == 3 * 8 * 8


def test_a_thin_label_is_gone(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    sheet = np.zeros((9, 9, 9), bool)
    sheet[4] = True
    before = labelled(straight((9, 9, 9)), a=sheet)
    assert not Erosion(radius_mm=1)(before, any_image(before)).array.any()


def test_sheared_grids_pixels_objects_and_wrong_parameters_are_refused(
    refuses_alike: Callable[..., None],
) -> None:
    refuses_alike(Erosion(radius_mm=2), "erode", "radius_mm")
    for parameters in ({}, {"radius_mm": 0}, {"radius": 2}):
        with pytest.raises(ValidationError):
            Erosion.model_validate(parameters)
