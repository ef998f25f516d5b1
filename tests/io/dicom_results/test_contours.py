"""Contours along voxel edges: areas that are exact, corners that touch, and filling as a judge of its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline  # noqa: TID253 - a test module
from numpy.typing import NDArray

from medseg.io.dicom_results.contours import filled, traced

Mask = NDArray[np.bool_]


def drawn(picture: str) -> Mask:
    """A mask `[i, j]` of lines: # is in."""
    return np.array([[letter == "#" for letter in line] for line in picture.split()])


def area(contour: NDArray[np.int64]) -> float:
    """By the surveyor's formula."""
    a, b = contour.T
    return abs(float(a @ np.roll(b, -1) - b @ np.roll(a, -1))) / 2


def centres(contours: list[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
    """The same in voxel indices."""
    return [contour.astype(np.float64) - 0.5 for contour in contours]


def test_nothing_has_no_contour() -> None:
    assert traced(np.zeros((5, 4), bool)) == []


def test_a_single_voxel_is_its_four_corners() -> None:
    (contour,) = traced(drawn("..... .#... ....."))
    assert sorted(map(tuple, contour)) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_rectangle_has_four_points_however_large() -> None:
    mask = np.zeros((300, 200), bool)
    mask[20:270, 0:200] = True  # reaches the border
    (contour,) = traced(mask)
    assert len(contour) == 4
    assert area(contour) == 250 * 200


def test_a_disc_has_the_area_of_its_voxels() -> None:
    i, j = np.mgrid[:512, :512]
    mask = (i - 250.3) ** 2 + (j - 260.8) ** 2 < 120.5**2
    (contour,) = traced(mask)
    assert area(contour) == mask.sum()
    assert area(contour) == pytest.approx(np.pi * 120.5**2, rel=2e-3)


def test_a_hole_is_a_contour_of_its_own_behind_the_one_around_it() -> None:
    outer, inner = traced(drawn("###### #....# #.##.# #.##.# #....# ######"))[:2]
    assert (area(outer), area(inner)) == (36, 16)


def test_an_island_in_a_hole_is_inside_again() -> None:
    contours = traced(drawn("##### #...# #.#.# #...# #####"))
    assert [area(contour) for contour in contours] == [25, 9, 1]


@pytest.mark.parametrize("picture", ["#. .#", ".# #."])
def test_voxels_that_touch_at_a_corner_have_a_contour_each(picture: str) -> None:
    assert [area(contour) for contour in traced(drawn(picture))] == [1, 1]


@pytest.mark.parametrize("picture", ["#### #.## ##.# ####", "#### ##.# #.## ####"])
def test_holes_that_touch_at_a_corner_are_two(picture: str) -> None:
    assert [area(contour) for contour in traced(drawn(picture))] == [16, 1, 1]


def test_a_ring_closed_by_a_corner_only_is_an_outline_and_a_hole() -> None:
    contours = traced(drawn(".## #.# ###"))
    assert sorted(area(contour) for contour in contours) == [1, 8]


@given(arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_any_mask_comes_back(mask: Mask) -> None:
    contours = traced(mask)
    for contour in contours:
        assert len({tuple(point) for point in contour.tolist()}) == len(contour) >= 4
        steps = np.roll(contour, -1, axis=0) - contour
        assert ((steps != 0).sum(axis=1) == 1).all()  # along an axis
        assert (steps * np.roll(steps, -1, axis=0) == 0).all()  # and across at each point
    assert np.array_equal(filled(centres(contours), mask.shape), mask)


def test_filling_agrees_with_another_programs() -> None:
    random = np.random.default_rng(3)
    star = np.column_stack([np.full(40, 30.2), np.full(40, 25.7)])
    angle = np.sort(random.random(40)) * 2 * np.pi
    star += (random.random(40) * 25 + 2)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    every = np.argwhere(np.ones((60, 50), bool))
    expected = Outline(star, closed=False).contains_points(every).reshape(60, 50)
    assert np.array_equal(filled([star], (60, 50)), expected)
    assert np.array_equal(filled([star[::-1]], (60, 50)), expected)


def test_what_lies_beyond_the_slice_is_cut_off() -> None:
    square = np.array([[-7.5, -3.5], [-7.5, 9.5], [4.5, 9.5], [4.5, -3.5]])
    assert np.array_equal(filled([square], (6, 5)), np.arange(6)[:, None] < [5] * 5)


def test_a_contour_moved_by_a_voxel_is_another_mask() -> None:
    mask = drawn("..... .##.. .##.. .....")
    (contour,) = centres(traced(mask))
    assert not np.array_equal(filled([np.add(contour, [0, 1])], mask.shape), mask)
