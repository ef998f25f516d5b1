from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.pixel_accuracy import PixelAccuracy
from medseg.prediction import Measured

Make = Callable[..., Any]
SHAPE = (12, 10, 8)


def cube(start: int, size: int = 4) -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[start : start + size, 2:6, 2:6] = True
    return found


def test_voxels_on_the_right_side(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    rows = list(PixelAccuracy()(labelled(grid, a=cube(4)), labelled(grid, a=cube(2))))
    value: Any = pytest.approx(1 - 64 / (12 * 10 * 8))
    assert rows == [Measured(label="a", quantity="pixel-accuracy", value=value)]


def test_finding_nothing_of_a_small_label_scores_high(straight: Make, labelled: Make) -> None:
    """A label of 5 % of the image, all of it missed."""
    grid = straight((20, 10, 10))
    small = np.zeros(grid.shape, bool)
    small[:1] = True
    (row,) = PixelAccuracy()(labelled(grid, a=np.zeros(grid.shape, bool)), labelled(grid, a=small))
    assert (row.value, row.flag) == (0.95, "absent from prediction")


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none = np.zeros(SHAPE, bool)
    prediction = labelled(grid, missed=none, made_up=cube(1), neither=none)
    reference = labelled(grid, missed=cube(1), made_up=none, neither=none)
    assert [(row.value, row.flag) for row in PixelAccuracy()(prediction, reference)] == [
        (1 - 64 / 960, "absent from prediction"),
        (1 - 64 / 960, "absent from reference"),
        (1.0, "absent from both"),
    ]
