from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.postprocess.remove_small import RemoveSmall
from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5)])
def test_the_limit_is_a_volume_at_any_spacing(
    spacing: tuple[float, float, float],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    shape = tuple(round(n / s) for n, s in zip((80, 44, 44), spacing, strict=True))
    grid = oblique(shape, spacing)
    middle = [n / 2 for n in shape]
    large = sphere(grid, (22 / spacing[0], *middle[1:]), 20)  # 33.5 mL
    small = sphere(grid, (62 / spacing[0], *middle[1:]), 10)  # 4.2 mL
    before = labelled(grid, lesion=large | small)
    for below_ml, expected in [
        (4.0, large | small),
        (4.4, large),
        (32.5, large),
        (34.5, np.zeros_like(large)),
    ]:
        after = RemoveSmall(below_ml=below_ml)(before, any_image(before))
        assert np.array_equal(after.mask("lesion"), expected), below_ml


def test_exactly_the_limit_is_kept_whatever_the_affine_rounds(
    labelled: Labelled, any_image: AnyImage
) -> None:
    for step in (0.1, 0.3, 0.7, 0.8, 0.9, np.float64(np.float32(0.9))):
        mask = np.zeros((9, 9, 9), bool)
        mask[1:6, 1:6, 1:6] = True
        before = labelled(Grid((9, 9, 9), np.diag([step, step, step, 1])), a=mask)
        ml = 125 * round(float(step), 3) ** 3 / 1000
        assert RemoveSmall(below_ml=ml)(before, any_image(before)).mask("a").sum() == 125
        assert RemoveSmall(below_ml=ml * 1.001)(before, any_image(before)).mask("a").sum() == 0


def test_connectivity_and_labels(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[0:2, 0, 0] = mask[2:4, 1, 0] = True  # two and two, across an edge
    other = np.zeros_like(mask)
    other[5, 5, 5] = True
    before = labelled(straight((6, 6, 6), (10, 10, 10)), a=mask, b=other)  # 1 mL a voxel
    image = any_image(before)
    assert RemoveSmall(below_ml=3)(before, image).mask("a").sum() == 4
    assert RemoveSmall(below_ml=3, connectivity=6)(before, image).mask("a").sum() == 0
    assert RemoveSmall(below_ml=3, labels=("a",))(before, image).mask("b").sum() == 1
    assert RemoveSmall(below_ml=3)(before, image).mask("b").sum() == 0


def test_pixels_objects_and_wrong_parameters_are_refused(
    labelled: Labelled, objects: Segmentation, any_image: AnyImage
) -> None:
    picture = labelled(Grid((4, 4, 1), np.eye(4), "px"), a=np.ones((4, 4, 1), bool))
    with pytest.raises(GeometryError, match="volume in mL needs a scale"):
        RemoveSmall(below_ml=1)(picture, any_image(picture))
    with pytest.raises(UsageError, match="layer of objects"):
        RemoveSmall(below_ml=1)(objects, any_image(objects))
    for parameters in ({}, {"below_ml": 0}, {"below_ml": -1}, {"below_ml": 1, "connectivity": 4}):
        with pytest.raises(ValidationError):
            RemoveSmall.model_validate(parameters)
