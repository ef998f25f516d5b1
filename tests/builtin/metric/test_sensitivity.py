from collections.abc import Callable
from typing import Any

import numpy as np

from medseg.builtin.metric.sensitivity import Sensitivity
from medseg.prediction import Measured

Make = Callable[..., Any]
SHAPE = (12, 10, 8)


def cube(start: int, size: int = 4) -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[start : start + size, 2:6, 2:6] = True
    return found


def test_the_share_of_the_reference_that_was_found(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    rows = list(Sensitivity()(labelled(grid, a=cube(3, 8)), labelled(grid, a=cube(2, 4))))
    assert rows == [Measured(label="a", quantity="sensitivity", value=3 / 4)]


def test_everything_is_sensitive(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    (row,) = Sensitivity()(labelled(grid, a=np.ones(SHAPE, bool)), labelled(grid, a=cube(1)))
    assert row.value == 1


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none = np.zeros(SHAPE, bool)
    prediction = labelled(grid, missed=none, made_up=cube(1), neither=none)
    reference = labelled(grid, missed=cube(1), made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Sensitivity()(prediction, reference)] == [
        (0.0, "absent from prediction"),
        (None, "absent from reference"),
        (None, "absent from both"),
    ]
