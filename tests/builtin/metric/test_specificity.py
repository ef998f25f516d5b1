from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.specificity import Specificity
from medseg.prediction import Measured

Make = Callable[..., Any]
SHAPE = (12, 10, 8)


def cube(start: int, size: int = 4) -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[start : start + size, 2:6, 2:6] = True
    return found


BACKGROUND = 12 * 10 * 8 - 64


def test_the_share_of_the_background_that_was_left_alone(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    rows = list(Specificity()(labelled(grid, a=cube(4)), labelled(grid, a=cube(2))))
    value: Any = pytest.approx((BACKGROUND - 32) / BACKGROUND)
    assert rows == [Measured(label="a", quantity="specificity", value=value)]


def test_the_same_error_in_a_larger_image_scores_higher(straight: Make, labelled: Make) -> None:
    values = []
    for more in (0, 20):
        grid = straight((12, 10, 8 + more))
        pair = [labelled(grid, a=np.pad(cube(start), [(0, 0), (0, 0), (0, more)])) for start in (4, 2)]
        (row,) = Specificity()(*pair)
        values.append(float(row.value or 0))
    assert values[0] < values[1]


def test_a_reference_that_fills_the_image_has_no_background(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    (row,) = Specificity()(labelled(grid, a=cube(1)), labelled(grid, a=np.ones(SHAPE, bool)))
    assert (row.value, row.flag) == (None, "")


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none = np.zeros(SHAPE, bool)
    prediction = labelled(grid, missed=none, made_up=cube(1), neither=none)
    reference = labelled(grid, missed=cube(1), made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Specificity()(prediction, reference)] == [
        (1.0, "absent from prediction"),
        (1 - 64 / 960, "absent from reference"),
        (1.0, "absent from both"),
    ]
