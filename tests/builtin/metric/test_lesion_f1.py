from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import BARS, bars, values

from medseg.builtin.metric.lesion_f1 import LesionF1
from medseg.components import Connectivity

Make = Callable[..., Any]


def test_by_overlap_any_voxel_is_enough(straight: Make, labelled: Make) -> None:
    """Of three lesions two are found, one of them by two parts; one part is made up."""
    grid = straight(BARS)
    reference = labelled(grid, a=bars((2, 2), (10, 2), (20, 2), length=7))
    prediction = labelled(grid, a=bars((1, 2), (7, 2), (13, 2), (2, 10), length=4))
    found = values(LesionF1()(prediction, reference))
    assert [found[f"lesions-{what}"] for what in ("detected", "missed", "true", "false")] == [2, 1, 3, 1]
    assert found["lesion-recall"] == pytest.approx(2 / 3)
    assert found["lesion-precision"] == pytest.approx(3 / 4)
    assert found["lesion-f1"] == pytest.approx(2 * (2 / 3) * (3 / 4) / (2 / 3 + 3 / 4))


def test_by_overlap_a_share_can_be_asked_for(straight: Make, labelled: Make) -> None:
    """Bars of 4, one moved by 1 and one by 3: covered to three quarters, and to one."""
    grid = straight(BARS)
    pair = labelled(grid, a=bars((3, 2), (13, 2))), labelled(grid, a=bars((2, 2), (10, 2)))
    for threshold, detected in ((0.0, 2), (0.25, 2), (0.5, 1), (0.75, 1), (0.8, 0)):
        assert values(LesionF1(threshold=threshold)(*pair))["lesions-detected"] == detected


def test_by_iou_each_lesion_has_one_partner(straight: Make, labelled: Make) -> None:
    """A bar over two lesions of 4 with a gap of 1: IoU 4 / 9 with either, and only one of them is matched."""
    grid = straight(BARS)
    reference = labelled(grid, a=bars((2, 2), (7, 2)))
    prediction = labelled(grid, a=bars((2, 2), length=9))
    loose = values(LesionF1()(prediction, reference))
    assert (loose["lesions-detected"], loose["lesion-f1"]) == (2, 1)
    strict = values(LesionF1(match="iou", threshold=0.4)(prediction, reference))
    assert (strict["lesions-detected"], strict["lesions-missed"], strict["lesions-false"]) == (1, 1, 0)
    assert strict["lesion-f1"] == pytest.approx(2 / 3)
    assert values(LesionF1(match="iou", threshold=0.5)(prediction, reference))["lesion-f1"] == 0


def test_what_touches_at_a_corner_is_one_lesion_if_so_asked(straight: Make, labelled: Make) -> None:
    grid = straight(BARS)
    corner = labelled(grid, a=bars((2, 2), (6, 4)))
    expected: dict[Connectivity, int] = {6: 2, 18: 1, 26: 1}
    for connectivity, count in expected.items():
        assert values(LesionF1(connectivity=connectivity)(corner, corner))["lesions-detected"] == count


def test_lesions_of_all_cases_together(straight: Make, labelled: Make) -> None:
    metric, grid = LesionF1(), straight(BARS)
    two, one = labelled(grid, a=bars((2, 2), (10, 2))), labelled(grid, a=bars((2, 2)))
    rows = [values(metric(one, two)), values(metric(two, one)), values(metric(one, one))]
    sums = {name: np.array([float(sum(row[name] for row in rows))]) for name in rows[0]}
    pooled = {name: float(value[0]) for name, value in metric.pooled(sums).items()}
    assert pooled == pytest.approx({"lesion-f1": 0.75, "lesion-precision": 0.75, "lesion-recall": 0.75})
    nothing = {name: np.zeros(1) for name in sums}
    assert all(np.isnan(value).all() for value in metric.pooled(nothing).values())


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(BARS)
    none, some = np.zeros(BARS, bool), bars((2, 2))
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    rows = list(LesionF1()(prediction, reference))
    names = ("lesion-f1", "lesion-precision", "lesion-recall", "lesions-missed", "lesions-false")
    assert [
        [row.value for name in names for row in rows if (row.label, row.quantity) == (label, name)]
        for label in ("missed", "made_up", "neither")
    ] == [[0, None, 0, 1, 0], [0, 0, None, 0, 1], [None, None, None, 0, 0]]
    assert list(dict.fromkeys(row.flag for row in rows)) == [
        "absent from prediction",
        "absent from reference",
        "absent from both",
    ]
