from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.overall_iou import OverallIou
from medseg.evaluation.summary import summarise
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Make = Callable[..., Any]


def box(grid: Grid, start: int, size: int) -> np.ndarray[Any, Any]:
    found = np.zeros(grid.shape, bool)
    found[start : start + size, 2:4, 2:4] = True
    return found


def test_a_large_and_a_small_case(straight: Make, labelled: Make) -> None:
    """10 of 12 layers in common in one, 1 of 3 in the other: 11 / 15, not the mean of 5/6 and 1/3."""
    grid = straight((30, 6, 6), (1, 2, 5))
    metric, cases = OverallIou(), []
    for (start, size), (other, length) in (((2, 12), (4, 10)), ((2, 2), (3, 2))):
        cases.append(
            tuple(
                metric(labelled(grid, a=box(grid, start, size)), labelled(grid, a=box(grid, other, length)))
            )
        )
    assert [(row.quantity, row.unit) for row in cases[1]] == [("intersection", "mL"), ("union", "mL")]
    assert [row.value for row in cases[1]] == pytest.approx([4 * 0.01, 12 * 0.01])
    (row,) = [row for row in summarise(cases, pools=[metric]) if row.metric == "overall-iou"]
    assert (row.label, row.cases, row.n, row.mean) == ("a", 2, 2, None)
    assert row.pooled == pytest.approx(11 / 15)


def test_cases_without_the_label_add_nothing(straight: Make, labelled: Make) -> None:
    grid = straight((30, 6, 6))
    none, some = labelled(grid, a=np.zeros(grid.shape, bool)), labelled(grid, a=box(grid, 2, 4))
    metric = OverallIou()
    cases = [tuple(metric(none, none)), tuple(metric(none, some)), tuple(metric(some, some))]
    assert [row.flag for case in cases for row in case][::2] == [
        "absent from both",
        "absent from prediction",
        "",
    ]
    rows = {row.metric: row for row in summarise(cases, pools=[metric])}
    assert rows["overall-iou"].pooled == pytest.approx(1 / 2)
    rows = {row.metric: row for row in summarise(cases[:1], pools=[metric])}
    assert rows["overall-iou"].pooled is None


def test_pictures_without_a_scale_are_in_pixels() -> None:
    grid = Grid((9, 9, 1), np.eye(4), "px")
    mask = np.zeros(grid.shape, bool)
    mask[2:5, 2:5] = True
    segmentation = Segmentation.from_masks({"a": mask}, grid, LabelTable((Label(1, "a"),)))
    assert [(row.value, row.unit) for row in OverallIou()(segmentation, segmentation)] == [(9, "px")] * 2
