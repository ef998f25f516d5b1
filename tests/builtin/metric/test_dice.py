from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.dice import Dice
from medseg.prediction import Measured

Make = Callable[..., Any]
SHAPE = (12, 10, 8)


def cube(start: int, size: int = 4) -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[start : start + size, 2:6, 2:6] = True
    return found


def test_cubes_that_share_part_of_themselves(straight: Make, labelled: Make) -> None:
    """Two cubes of 64 voxels, one moved by 2 of 4: 2 x 32 / 128."""
    grid = straight(SHAPE)
    rows = list(Dice()(labelled(grid, a=cube(2)), labelled(grid, a=cube(4))))
    assert rows == [Measured(label="a", quantity="dice", value=0.5)]


def test_false_positives_and_negatives_count_alike(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    large, small = labelled(grid, a=cube(2, 6)), labelled(grid, a=cube(2, 3))
    (over,), (under,) = Dice()(large, small), Dice()(small, large)
    assert over.value == under.value == pytest.approx(2 * 3 / 9)


def test_the_same_mask_is_one(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    (row,) = Dice()(labelled(grid, a=cube(1)), labelled(grid, a=cube(1)))
    assert (row.value, row.flag) == (1.0, "")


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none = np.zeros(SHAPE, bool)
    prediction = labelled(grid, missed=none, made_up=cube(1), neither=none)
    reference = labelled(grid, missed=cube(1), made_up=none, neither=none)
    assert [(row.label, row.value, row.flag) for row in Dice()(prediction, reference)] == [
        ("missed", 0.0, "absent from prediction"),
        ("made_up", 0.0, "absent from reference"),
        ("neither", None, "absent from both"),
    ]


def test_it_is_what_monai_gives(straight: Make, labelled: Make) -> None:
    import torch
    from monai.metrics.meandice import compute_dice

    rng = np.random.default_rng(3)
    grid = straight(SHAPE)
    for share in (0.02, 0.3, 0.9):
        one, two = (rng.random(SHAPE) < share for _ in range(2))
        (row,) = Dice()(labelled(grid, a=one), labelled(grid, a=two))
        tensors = [torch.from_numpy(each)[None, None].float() for each in (one, two)]
        peer = compute_dice(tensors[0], tensors[1])
        assert row.value == pytest.approx(float(peer), rel=1e-6)
