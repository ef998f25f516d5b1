from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.postprocess.keep_largest import KeepLargest
from medseg.errors import UsageError
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation], Volume]


def test_keeps_the_larger_of_two_spheres(
    oblique: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = oblique((70, 50, 22), (1.0, 1.0, 2.5))
    large, small = sphere(grid, (24, 25, 11), 20), sphere(grid, (58, 25, 11), 10)
    before = labelled(grid, liver=large | small)
    after = KeepLargest()(before, any_image(before))
    assert np.array_equal(after.mask("liver"), large)
    assert after.mask("liver").sum() * grid.voxel_ml == pytest.approx(33.5, rel=0.01)  # 4/3 pi 20³ mm³
    both = KeepLargest(count=2)(before, any_image(before))
    assert np.array_equal(both.mask("liver"), large | small)


def test_other_labels_stay(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    specks = np.random.default_rng(0).random((2, 12, 12, 12)) < 0.05
    before = labelled(straight((12, 12, 12)), a=specks[0], b=specks[1])
    after = KeepLargest(labels=("a",))(before, any_image(before))
    assert np.array_equal(after.mask("b"), before.mask("b"))
    assert 0 < after.mask("a").sum() < before.mask("a").sum()
    assert not (after.mask("a") & ~before.mask("a")).any()


@pytest.mark.parametrize(("connectivity", "kept"), [(6, 2), (18, 4), (26, 6)])
def test_connectivity(
    connectivity: int, kept: int, straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((6, 4, 4), bool)
    mask[0:2, 0, 0] = True  # two voxels, …
    mask[2:4, 1, 0] = True  # … two more across an edge, …
    mask[4:6, 2, 1] = True  # … and two more across a corner
    before = labelled(straight((6, 4, 4)), a=mask)
    after = KeepLargest.model_validate({"connectivity": connectivity})(before, any_image(before))
    assert after.mask("a").sum() == kept
    assert after.mask("a")[0, 0, 0]


def test_equal_parts_are_kept_by_lowest_index(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[4, 0, 0] = mask[0, 4, 0] = mask[0, 0, 4] = mask[2, 2, 2] = True
    before = labelled(straight((5, 5, 5)), a=mask)
    for count, expected in [
        (1, [[0, 0, 4]]),
        (2, [[0, 0, 4], [0, 4, 0]]),
        (3, [[0, 0, 4], [0, 4, 0], [2, 2, 2]]),
    ]:
        after = KeepLargest(count=count)(before, any_image(before))
        assert np.argwhere(after.mask("a")).tolist() == expected


def test_a_tie_below_a_larger_part(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    mask = np.zeros((9, 3, 3), bool)
    mask[0, 0, 0] = mask[2, 0, 0] = True
    mask[5:9] = True
    before = labelled(straight((9, 3, 3)), a=mask)
    after = KeepLargest(count=2)(before, any_image(before))
    assert after.mask("a").sum() == 37
    assert after.mask("a")[0, 0, 0]


def test_one_part_and_no_voxel_stay_as_they_are(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    one = np.zeros((4, 4, 4), bool)
    one[1:3] = True
    before = labelled(straight((4, 4, 4)), a=one, b=np.zeros_like(one))
    assert np.array_equal(KeepLargest()(before, any_image(before)).array, before.array)


def test_objects_and_wrong_parameters_are_refused(objects: Segmentation, any_image: AnyImage) -> None:
    with pytest.raises(UsageError, match="layer of objects"):
        KeepLargest()(objects, any_image(objects))
    for parameters in ({"connectivity": 8}, {"count": 0}, {"labels": 3}, {"label": ["a"]}):
        with pytest.raises(ValidationError):
            KeepLargest.model_validate(parameters)
