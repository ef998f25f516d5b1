from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a test module

from medseg.builtin.metric.object_pair import ObjectPair, matched, object_pairs
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

Make = Callable[..., Any]
SHAPE = (20, 18, 14)


def noise(seed: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    return np.asarray(ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) > 0.25)


@pytest.mark.parametrize(("connectivity", "reach"), [(6, 1), (18, 2), (26, 3)])
def test_parts_and_what_they_share_are_those_of_scipy(
    straight: Make, labelled: Make, connectivity: Any, reach: int
) -> None:
    grid, masks = straight(SHAPE), [noise(1), noise(2)]
    prediction, truth = (labelled(grid, a=mask) for mask in masks)
    (pair,) = object_pairs(prediction, truth, connectivity)
    (ours, n), (theirs, m) = (
        ndimage.label(mask, ndimage.generate_binary_structure(3, reach)) for mask in masks
    )
    assert sorted(pair.found) == sorted(np.bincount(ours.ravel())[1:])
    assert sorted(pair.wanted) == sorted(np.bincount(theirs.ravel())[1:])
    common = [np.count_nonzero((ours == i + 1) & (theirs == j + 1)) for i in range(n) for j in range(m)]
    assert sorted(pair.common) == sorted(count for count in common if count)
    iou = sorted(
        np.count_nonzero(one & two) / np.count_nonzero(one | two)
        for one in (ours == i + 1 for i in range(n))
        for two in (theirs == j + 1 for j in range(m))
        if np.any(one & two)
    )
    assert sorted(pair.iou) == pytest.approx(iou)


def test_objects_of_a_mask_stay_what_they_are() -> None:
    """Two nuclei that touch, in a layer of objects, against one that covers both and a label's part."""
    grid = Grid((8, 8, 1), np.eye(4), "px")
    table = LabelTable((Label(1, "nucleus"),))
    array = np.zeros((1, 8, 8, 1), np.uint16)
    array[0, 1:4, 1:4], array[0, 4:7, 1:4] = 7, 300
    things = (Object(7, "nucleus"), Object(300, "nucleus"))
    two = Segmentation(array, grid, table, kinds=("objects",), objects=things)
    one = Segmentation((array > 0).astype(np.uint8), grid, table)
    (pair,) = object_pairs(two, one, 26)
    assert (pair.found.tolist(), pair.wanted.tolist(), pair.common.tolist()) == ([9, 9], [18], [9, 9])
    assert pair.iou.tolist() == [0.5, 0.5]
    assert matched(pair, 0.5) == 1
    (same,) = object_pairs(two, two, 6)
    assert matched(same, 1.0) == 2


def test_the_most_pairs_are_matched() -> None:
    """The first of ours meets both of theirs, the second only the one that the first likes better."""
    objects = ObjectPair(
        "a",
        "",
        found=np.array([10, 10]),
        wanted=np.array([10, 10]),
        ours=np.array([0, 0, 1]),
        theirs=np.array([0, 1, 0]),
        common=np.array([6, 4, 4]),
    )
    assert objects.iou.tolist() == pytest.approx([6 / 14, 4 / 16, 4 / 16])
    assert [matched(objects, threshold) for threshold in (0.2, 0.3, 0.5)] == [2, 1, 0]


def test_nothing_meets_nothing(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none = labelled(grid, a=np.zeros(SHAPE, bool))
    for prediction, reference in ((none, none), (none, labelled(grid, a=noise(1)))):
        (pair,) = object_pairs(prediction, reference, 26)
        assert (len(pair.found), len(pair.common), matched(pair, 0.1)) == (0, 0, 0)
