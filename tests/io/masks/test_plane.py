"""Contours of one plane: rectangles and circles with known areas, nested, crossing, side by side."""

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.masks import plane
from medseg.io.masks.plane import combined, distinct, exclusive

SHAPE = (60, 50)


def box(low: float, high: float, left: float, right: float) -> NDArray[np.float64]:
    return np.array([[low, left], [high, left], [high, right], [low, right]], np.float64)


def disc(radius: float, centre: tuple[float, float] = (30, 25), points: int = 90) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])


def expected(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Pixels of whole-numbered boxes, borders included, each turning what is there."""
    canvas = np.zeros(SHAPE, bool)
    for low, high, left, right in boxes:
        canvas[low : high + 1, left : right + 1] ^= True
    return canvas


# ------------------------------------------------------------------ together
@pytest.mark.parametrize("reverse", [False, True])
def test_an_island_in_a_hole(reverse: bool) -> None:
    sides = [(5, 45, 5, 45), (10, 40, 10, 40), (15, 30, 15, 30), (20, 25, 20, 25)]
    contours = [box(*side) for side in sides]
    mask, crossing = combined(contours[::-1] if reverse else contours, SHAPE, "x")
    assert np.array_equal(mask, expected(*sides))
    assert np.array_equal(mask, exclusive(contours, SHAPE, "x"))
    assert not crossing


def test_parts_side_by_side_share_their_border() -> None:
    mask, crossing = combined([box(5, 20, 5, 30), box(20, 40, 5, 30)], SHAPE, "x")
    assert np.array_equal(mask, expected((5, 40, 5, 30)))
    assert not crossing


def test_a_hole_that_touches_the_border_stays_a_hole() -> None:
    mask, crossing = combined([box(5, 40, 5, 30), box(4.7, 19.7, 10, 20)], SHAPE, "x")
    assert not mask[6:20, 10:21].any()
    assert mask[6:40, 5:10].all()
    assert not crossing


def test_a_hole_in_two_that_cross_is_one_hole() -> None:
    mask, crossing = combined([box(5, 30, 5, 40), box(20, 50, 5, 40), box(22, 28, 10, 20)], SHAPE, "x")
    assert crossing
    assert not mask[22:29, 10:21].any()
    assert mask.sum() == 46 * 36 - 7 * 11


def test_a_chain_of_crossing_contours_is_one() -> None:
    chain = [box(5 + 6 * n, 15 + 6 * n, 5, 15) for n in range(6)]
    mask, crossing = combined(chain, SHAPE, "x")
    assert crossing
    assert np.array_equal(mask, expected((5, 45, 5, 15)))


def test_crossing_without_a_corner_in_the_other() -> None:
    mask, crossing = combined([box(5, 45, 20, 30), box(20, 30, 5, 45)], SHAPE, "x")
    assert crossing
    assert mask.sum() == 2 * 41 * 11 - 11 * 11


def test_small_holes_between_pixels_centres() -> None:
    """Too small to say by pixels what lies in what."""
    mask, crossing = combined([disc(3.2), disc(1.2)], SHAPE, "x")
    assert not crossing
    assert not mask[30, 25]
    assert mask[30, 28]
    thin, crossing = combined([disc(3.5), disc(3.2)], SHAPE, "x")
    assert not thin.any()
    assert not crossing


def test_beyond_the_picture() -> None:
    mask, _ = combined([box(-1, 70, -1, 60), box(55, 62, 45, 52)], SHAPE, "x")
    assert np.array_equal(mask, expected((0, 59, 0, 49), (55, 59, 45, 49)))
    assert not combined([box(-4, -1, 2, 9)], SHAPE, "x")[0].any()


def test_nothing() -> None:
    assert not combined([], SHAPE, "x")[0].any()
    assert distinct([]) == []


def test_thousands_over_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "MOST_PAIRS", 40)
    combined([disc(1 + n) for n in range(9)], SHAPE, "x")  # 36 pairs
    with pytest.raises(InputError, match="x: more than 40 contours lie over others"):
        combined([disc(1 + n) for n in range(10)], SHAPE, "x")


# ------------------------------------------------------------------ stored twice
def in_space(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([flat, np.full(len(flat), 7.5)])


def test_the_same_points_from_another_start_or_the_other_way_round() -> None:
    one = in_space(disc(9))
    again = [np.roll(one, 11, axis=0), one[::-1], np.concatenate([one, one[:1]]), np.repeat(one, 2, axis=0)]
    assert distinct([one, *again]) == [0]


@pytest.mark.parametrize(("mm", "kept"), [(0.009, [0]), (0.02, [0, 1])])
def test_how_near_the_same_is(mm: float, kept: list[int]) -> None:
    one = in_space(disc(9))
    assert distinct([one, one + np.array([mm, 0, 0])]) == kept


def test_a_contour_turned_about_its_middle_is_another() -> None:
    one = in_space(box(-5, 5, -2, 2))
    assert distinct([one, one[:, [1, 0, 2]], in_space(disc(9)), one]) == [0, 1, 2]
