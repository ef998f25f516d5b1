"""Polygons to pixels: whole-numbered boxes, clipping, and work that is too much."""

import numpy as np
import pytest

from medseg.errors import InputError
from medseg.io.masks import polygons
from medseg.io.masks.polygons import inside

SHAPE = (9, 7)
BOX = np.array([[2, 1], [6, 1], [6, 4], [2, 4]], np.float64)


def test_a_pixel_is_in_where_its_centre_is_inside_or_on_the_border() -> None:
    wanted = np.zeros(SHAPE, bool)
    wanted[2:7, 1:5] = True
    assert np.array_equal(inside(BOX, SHAPE, "x"), wanted)
    assert np.array_equal(inside(BOX[::-1], SHAPE, "x"), wanted)
    shrunk = inside((BOX - (4, 2.5)) * 0.99 + (4, 2.5), SHAPE, "x")
    wanted[[2, 6]] = False
    wanted[:, [1, 4]] = False
    assert np.array_equal(shrunk, wanted)


def test_a_keyhole_leaves_its_hole_out() -> None:
    """The channel lies between pixel centres."""
    keyhole = [
        [0, 0],
        [0, 6],
        [8, 6],
        [8, 3.4],
        [5, 3.4],
        [5, 4.5],
        [1.5, 4.5],
        [1.5, 1.5],
        [5, 1.5],
        [5, 3.3],
    ]
    mask = inside(np.array([*keyhole, [8, 3.3], [8, 0]], np.float64), SHAPE, "x")
    wanted = np.ones(SHAPE, bool)
    wanted[2:5, 2:5] = False
    wanted[5, 2:5] = True  # on the hole's border
    assert np.array_equal(mask, wanted)


def test_what_lies_beyond_the_picture_is_cut_off() -> None:
    assert inside(BOX * 9 - 20, SHAPE, "x").all()
    assert not inside(BOX + 20, SHAPE, "x").any()


def test_too_many_points_for_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "MOST_WORK", 4 * 5 * 4)
    assert inside(BOX, SHAPE, "x").any()
    with pytest.raises(InputError, match="x: a contour of 5 points is too much"):
        inside(np.concatenate([BOX, BOX[:1]]), SHAPE, "x")
