from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import BARS, bars, values

from medseg.builtin.metric.average_precision import AveragePrecision

Make = Callable[..., Any]


def test_by_hand(straight: Make, labelled: Make) -> None:
    """Bars of 4: one found exactly, one moved by 1 (IoU 3 / 5), one missed, one made up."""
    grid = straight(BARS)
    reference = labelled(grid, a=bars((2, 2), (10, 2), (20, 2)))
    prediction = labelled(grid, a=bars((2, 2), (11, 2), (2, 10)))
    found = values(AveragePrecision(thresholds=(0.5, 0.6, 0.75))(prediction, reference))
    assert found == pytest.approx(
        {"ap@0.50": 2 / 4, "ap@0.60": 2 / 4, "ap@0.75": 1 / 5, "map": (0.5 + 0.5 + 0.2) / 3}
    )


def test_the_reference_itself_is_one(straight: Make, labelled: Make) -> None:
    grid = straight(BARS)
    same = labelled(grid, a=bars((2, 2), (10, 2), (20, 2)))
    found = values(AveragePrecision()(same, same))
    assert len(found) == 11
    assert set(found.values()) == {1.0}


def test_a_threshold_is_a_share() -> None:
    with pytest.raises(ValueError, match="less than or equal to 1"):
        AveragePrecision(thresholds=(50,))
    with pytest.raises(ValueError, match="at least 1 item"):
        AveragePrecision(thresholds=())


@pytest.mark.parametrize("thresholds", [(0.501, 0.504), (0.5, 0.125)])
def test_thresholds_that_rows_have_no_names_for_are_refused(thresholds: tuple[float, ...]) -> None:
    """Both of the first would be the row ap@0.50, the second of the others ap@0.12."""
    with pytest.raises(ValueError, match="has more than two decimals"):
        AveragePrecision(thresholds=thresholds)


def test_thresholds_that_are_sums_of_floats_are_taken(straight: Make, labelled: Make) -> None:
    grid = straight(BARS)
    same = labelled(grid, a=bars((2, 2)))
    found = values(AveragePrecision(thresholds=tuple(0.1 * n for n in range(1, 10)))(same, same))
    assert list(found) == [f"ap@0.{n}0" for n in range(1, 10)] + ["map"]


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(BARS)
    none, some = np.zeros(BARS, bool), bars((2, 2))
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    rows = list(AveragePrecision(thresholds=(0.5,))(prediction, reference))
    assert [(row.quantity, row.value, row.flag) for row in rows[::2]] == [
        ("ap@0.50", 0.0, "absent from prediction"),
        ("ap@0.50", 0.0, "absent from reference"),
        ("ap@0.50", None, "absent from both"),
    ]
