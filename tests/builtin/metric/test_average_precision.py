from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.builtin.metric.average_precision import AveragePrecision
from medseg.prediction import Measured

Make = Callable[..., Any]
SHAPE = (30, 20, 6)


def boxes(*starts: tuple[int, int], length: int = 4) -> NDArray[np.bool_]:
    """Bars of 2 x 2 voxels from places along i and j."""
    found = np.zeros(SHAPE, bool)
    for i, j in starts:
        found[i : i + length, j : j + 2, 2:4] = True
    return found


def values(rows: Iterable[Measured]) -> dict[str, Any]:
    return {row.quantity: row.value for row in rows}


def test_by_hand(straight: Make, labelled: Make) -> None:
    """Bars of 4: one found exactly, one moved by 1 (IoU 3 / 5), one missed, one made up."""
    grid = straight(SHAPE)
    reference = labelled(grid, a=boxes((2, 2), (10, 2), (20, 2)))
    prediction = labelled(grid, a=boxes((2, 2), (11, 2), (2, 10)))
    found = values(AveragePrecision(thresholds=(0.5, 0.6, 0.75))(prediction, reference))
    assert found == pytest.approx(
        {"ap@0.50": 2 / 4, "ap@0.60": 2 / 4, "ap@0.75": 1 / 5, "map": (0.5 + 0.5 + 0.2) / 3}
    )


def test_the_reference_itself_is_one(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    same = labelled(grid, a=boxes((2, 2), (10, 2), (20, 2)))
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
    grid = straight(SHAPE)
    same = labelled(grid, a=boxes((2, 2)))
    found = values(AveragePrecision(thresholds=tuple(0.1 * n for n in range(1, 10)))(same, same))
    assert list(found) == [f"ap@0.{n}0" for n in range(1, 10)] + ["map"]


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none, some = np.zeros(SHAPE, bool), boxes((2, 2))
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    rows = list(AveragePrecision(thresholds=(0.5,))(prediction, reference))
    assert [(row.quantity, row.value, row.flag) for row in rows[::2]] == [
        ("ap@0.50", 0.0, "absent from prediction"),
        ("ap@0.50", 0.0, "absent from reference"),
        ("ap@0.50", None, "absent from both"),
    ]
