from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.label_pair import label_pairs
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

Make = Callable[..., Any]


def mask(grid: Grid, *corner: int) -> np.ndarray[Any, Any]:
    found = np.zeros(grid.shape, bool)
    found[corner[0] : corner[0] + 2, corner[1] : corner[1] + 2, corner[2] : corner[2] + 2] = True
    return found


def test_masks_are_cropped_to_the_box_around_both(straight: Make, labelled: Make) -> None:
    grid = straight((20, 20, 20))
    (pair,) = label_pairs(labelled(grid, a=mask(grid, 3, 4, 5)), labelled(grid, a=mask(grid, 4, 4, 9)))
    assert pair.prediction.shape == pair.reference.shape == (3, 2, 6)
    assert pair.prediction.sum() == pair.reference.sum() == 8
    assert pair.grid is grid
    assert pair.absent == ""


@pytest.mark.parametrize(
    ("there", "flag"),
    [
        ((False, False), "absent from both"),
        ((True, False), "absent from reference"),
        ((False, True), "absent from prediction"),
    ],
)
def test_absence_is_said_of_whom(straight: Make, labelled: Make, there: tuple[bool, bool], flag: str) -> None:
    grid = straight((6, 6, 6))
    prediction, reference = (labelled(grid, a=mask(grid, 1, 1, 1) & here) for here in there)
    assert [pair.absent for pair in label_pairs(prediction, reference)] == [flag]


def test_a_label_the_prediction_does_not_know_is_absent_from_it(straight: Make, labelled: Make) -> None:
    grid = straight((6, 6, 6))
    known = labelled(grid, a=mask(grid, 1, 1, 1))
    both = labelled(grid, a=mask(grid, 1, 1, 1), b=mask(grid, 3, 3, 3))
    assert [pair.absent for pair in label_pairs(known, both)] == ["", "absent from prediction"]


def test_labels_of_several_layers_and_of_objects_are_found(straight: Make) -> None:
    grid = straight((6, 6, 6))
    table = LabelTable((Label(1, "organ"), Label(70_000, "nucleus", layer=1), Label(2, "other", layer=2)))
    array = np.zeros((3, *grid.shape), np.uint32)
    array[0][mask(grid, 0, 0, 0)] = 1
    array[1][mask(grid, 1, 1, 1)] = 5
    array[1][mask(grid, 4, 4, 4)] = 6
    array[2][mask(grid, 0, 0, 0)] = 2
    objects = (Object(5, "nucleus"), Object(6, "nucleus"))
    segmentation = Segmentation(array, grid, table, kinds=("labels", "objects", "labels"), objects=objects)
    sums = {pair.label: int(pair.reference.sum()) for pair in label_pairs(segmentation, segmentation)}
    assert sums == {"organ": 8, "other": 8, "nucleus": 16}


def test_values_too_large_to_list_are_found(straight: Make) -> None:
    grid = straight((6, 6, 6))
    table = LabelTable((Label(100_000, "a"),))
    segmentation = Segmentation.from_masks({"a": mask(grid, 2, 2, 2)}, grid, table)
    assert [pair.reference.shape for pair in label_pairs(segmentation, segmentation)] == [(2, 2, 2)]
