"""What blocks saw of an object is one object where their margins show the same."""

import numpy as np
import pytest

from medseg.inference.object_pieces import Piece, joined
from medseg.inference.refining import Part

LEFT, RIGHT = Part((0, 0, 0), (10, 8, 1)), Part((10, 0, 0), (20, 8, 1))
SEEN_LEFT, SEEN_RIGHT = Part((0, 0, 0), (14, 8, 1)), Part((6, 0, 0), (20, 8, 1))


def piece(part: Part, core: Part, around: Part) -> Piece:
    """All voxels of a part."""
    mask = np.ones(part.shape, np.bool_)
    return Piece.of(mask, part=part, core=core, around=around, label=0, score=0.5)


def bar(rows: tuple[int, int], core: Part, around: Part) -> Piece:
    """A bar along i, from end to end of what a block sees."""
    return piece(Part((around.low[0], rows[0], 0), (around.high[0], rows[1], 1)), core, around)


def test_a_mask_is_kept_as_it_was() -> None:
    mask = np.random.default_rng(0).random((5, 7, 3)) < 0.4
    part = Part((2, 1, 0), (7, 8, 3))
    kept = Piece.of(mask, part=part, core=part, around=part, label=1, score=0.25)
    assert np.array_equal(kept.mask, mask)
    assert np.array_equal(kept.within(Part((3, 2, 1), (6, 5, 2))), mask[1:4, 1:4, 1:2])


@pytest.mark.parametrize(("rows", "count"), [((2, 4), 1), ((3, 5), 1), ((4, 6), 2), ((2, 8), 1)], ids=str)
def test_bars_that_share_most_of_their_margins_are_one(rows: tuple[int, int], count: int) -> None:
    """Half of the rows of the smaller one, at least."""
    array = np.zeros((20, 8, 1), np.uint32)
    pieces = [bar((2, 4), LEFT, SEEN_LEFT), bar(rows, RIGHT, SEEN_RIGHT)]
    assert len(joined(pieces, array)) == count


def test_a_bar_that_two_others_go_on_in_makes_them_one() -> None:
    array = np.zeros((20, 8, 1), np.uint32)
    pieces = [bar((0, 2), LEFT, SEEN_LEFT), bar((5, 7), LEFT, SEEN_LEFT), bar((0, 7), RIGHT, SEEN_RIGHT)]
    assert joined(pieces, array) == [pieces]


def test_what_is_there_already_is_left_out() -> None:
    array = np.zeros((20, 8, 1), np.uint32)
    array[:6, 2:4] = 1
    assert joined([bar((2, 4), LEFT, SEEN_LEFT)], array) == []
    array[4:6] = 0
    assert len(joined([bar((2, 4), LEFT, SEEN_LEFT)], array)) == 1


def test_a_block_has_its_core_only() -> None:
    array = np.arange(160).reshape(20, 8, 1)
    region, mask = bar((2, 4), RIGHT, SEEN_RIGHT).own(array)
    assert np.array_equal(region[mask], array[10:20, 2:4].ravel())
    outside = piece(Part((6, 2, 0), (9, 4, 1)), RIGHT, SEEN_RIGHT)
    assert not outside.is_free(np.zeros_like(array))
