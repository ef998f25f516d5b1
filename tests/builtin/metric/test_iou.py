from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.iou import Iou
from medseg.prediction import Measured

Make = Callable[..., Any]
SHAPE = (12, 10, 8)


def cube(start: int, size: int = 4) -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[start : start + size, 2:6, 2:6] = True
    return found


def test_cubes_that_share_part_of_themselves(straight: Make, labelled: Make) -> None:
    """Two cubes of 64 voxels, one moved by 2 of 4: 32 in common, 96 in either."""
    grid = straight(SHAPE)
    rows = list(Iou()(labelled(grid, a=cube(2)), labelled(grid, a=cube(4))))
    assert rows == [Measured(label="a", quantity="iou", value=1 / 3)]


def test_cubes_moved_in_all_directions(straight: Make, labelled: Make) -> None:
    """Squares of 10 moved by 4: 60 in common of 140."""
    grid = straight((20, 20, 1))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[2:12, 3:13], two[6:16, 3:13] = True, True
    (row,) = Iou()(labelled(grid, a=one), labelled(grid, a=two))
    assert row.value == pytest.approx(0.428571, abs=1e-6)


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none = np.zeros(SHAPE, bool)
    prediction = labelled(grid, missed=none, made_up=cube(1), neither=none)
    reference = labelled(grid, missed=cube(1), made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Iou()(prediction, reference)] == [
        (0.0, "absent from prediction"),
        (0.0, "absent from reference"),
        (None, "absent from both"),
    ]


def test_it_is_what_monai_gives(straight: Make, labelled: Make) -> None:
    import torch
    from monai.metrics.meaniou import compute_iou

    rng = np.random.default_rng(3)
    grid = straight(SHAPE)
    for share in (0.02, 0.3, 0.9):
        one, two = (rng.random(SHAPE) < share for _ in range(2))
        (row,) = Iou()(labelled(grid, a=one), labelled(grid, a=two))
        tensors = [torch.from_numpy(each)[None, None].float() for each in (one, two)]
        assert row.value == pytest.approx(float(compute_iou(tensors[0], tensors[1])), rel=1e-6)
