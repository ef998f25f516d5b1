from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.builtin.metric.cldice import Cldice
from medseg.builtin.metric.dice import Dice

Make = Callable[..., Any]
SHAPE = (40, 16, 16)


def tube(start: int, stop: int, radius: int = 2) -> NDArray[np.bool_]:
    """A square tube along i, whose centre line is at (8, 8)."""
    found = np.zeros(SHAPE, bool)
    found[start:stop, 8 - radius : 9 + radius, 8 - radius : 9 + radius] = True
    return found


def test_lines_of_one_voxel_are_their_own_skeleton(straight: Make, labelled: Make) -> None:
    """20 voxels of 30: all of the short one in the long one, two thirds of the long one in the short one."""
    grid = straight(SHAPE)
    (row,) = Cldice()(labelled(grid, a=tube(5, 25, 0)), labelled(grid, a=tube(5, 35, 0)))
    assert row.value == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert (row.quantity, row.flag) == ("cldice", "")


def test_lines_in_a_plane(straight: Make, labelled: Make) -> None:
    grid = straight((40, 16, 1))
    (row,) = Cldice()(labelled(grid, a=tube(5, 25, 0)[..., 8:9]), labelled(grid, a=tube(5, 35, 0)[..., 8:9]))
    assert row.value == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))


def test_how_thick_a_tube_is_matters_to_dice_only(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    pair = labelled(grid, a=tube(4, 36, 1)), labelled(grid, a=tube(4, 36, 3))
    (thickness,), (length,) = Dice()(*pair), Cldice()(*pair)
    assert float(thickness.value or 1) < 0.4
    assert float(length.value or 0) > 0.95


def test_a_gap_costs_its_length(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    broken = tube(4, 36)
    broken[16:24] = False
    (row,) = Cldice()(labelled(grid, a=broken), labelled(grid, a=tube(4, 36)))
    assert row.value == pytest.approx(2 * 0.75 / 1.75, abs=0.06)


def test_specks_have_a_skeleton(straight: Make, labelled: Make) -> None:
    for shape in ((8, 8, 8), (8, 8, 1)):
        grid = straight(shape)
        for size in (1, 2, 3):
            mask = np.zeros(shape, bool)
            mask[2 : 2 + size, 2 : 2 + size, : 2 + size] = True
            (row,) = Cldice()(labelled(grid, a=mask), labelled(grid, a=mask))
            assert row.value == 1


def test_tubes_that_do_not_meet(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    (row,) = Cldice()(labelled(grid, a=tube(2, 12)), labelled(grid, a=tube(20, 32)))
    assert (row.value, row.flag) == (0.0, "")


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    none, some = np.zeros(SHAPE, bool), tube(3, 20)
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Cldice()(prediction, reference)] == [
        (0.0, "absent from prediction"),
        (0.0, "absent from reference"),
        (None, "absent from both"),
    ]
