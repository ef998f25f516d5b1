"""Anchors: where they are, and which objects they are of, on lattices so small that it is known."""

import math

import pytest
import torch  # noqa: TID253 - a test module
from medseg_instances.detector.anchors import NOTHING, Anchors, shapes
from medseg_instances.detector.boxes import overlaps


def anchors(*sizes: tuple[int, ...], size: float = 2.0, longer: tuple[float, ...] = ()) -> Anchors:
    """On levels with strides 2, 4 …; cubes of `size` strides, and longer ones."""
    dims = len(sizes[0])
    levels = [torch.zeros(1, 1, *each) for each in sizes]
    strides = [(2 ** (n + 1),) * dims for n in range(len(sizes))]
    return Anchors.of(levels, strides, shapes(size, 1, longer, dims))


def test_they_are_about_the_middles_of_places() -> None:
    """Three rows of two places, 2 voxels apart, whose anchors have 4 voxels; one place, 4 wide, 8 voxels."""
    found = anchors((3, 2), (1, 1))
    assert found.boxes.tolist() == [
        [-1, -1, 3, 3],
        [-1, 1, 3, 5],
        [1, -1, 5, 3],
        [1, 1, 5, 5],
        [3, -1, 7, 3],
        [3, 1, 7, 5],
        [-2, -2, 6, 6],
    ]


def test_strides_may_differ_by_axis() -> None:
    found = Anchors.of([torch.zeros(1, 1, 1, 1, 2)], [(4, 4, 1)], shapes(1.0, 1, (), 3))
    assert found.boxes.tolist() == [[0, 0, 0, 4, 4, 1], [0, 0, 1, 4, 4, 2]]


def test_shapes_are_cubes_and_longer_ones_of_their_volume() -> None:
    root = math.sqrt(2)
    assert shapes(4.0, 1, (2.0,), 2) == [
        [4, 4],
        pytest.approx([4 * root, 4 / root]),
        pytest.approx([4 / root, 4 * root]),
    ]
    in_space = shapes(3.0, 3, (2.0, 4.0), 3)
    assert len(in_space) == 3 * 7
    assert [math.prod(one) for one in in_space[::7]] == pytest.approx([27, 54, 108])
    assert all(math.prod(one) == pytest.approx(27) for one in in_space[:7])
    assert max(in_space[4]) / min(in_space[4]) == pytest.approx(4)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_anchor_at_an_object_is_its(dims: int) -> None:
    found = anchors((8,) * dims, (4,) * dims, longer=(2.0,))
    for number in (0, 17, len(found.boxes) // 2, len(found.boxes) - 1):
        match = found.matched(found.boxes[number : number + 1])
        assert match[number] == 0
        assert (match >= 0).sum() < 12
        own = overlaps(found.boxes[match == 0], found.boxes[number : number + 1])
        assert own.min() > 0.2


def test_an_object_between_places_has_those_around() -> None:
    """Its middle is as far from four places: all four overlap it alike."""
    found = anchors((6, 6), size=1.5)
    match = found.matched(torch.tensor([[4.5, 4.5, 7.5, 7.5]]))
    assert torch.nonzero(match == 0)[:, 0].tolist() == [6 * 2 + 2, 6 * 2 + 3, 6 * 3 + 2, 6 * 3 + 3]


def test_every_object_has_an_anchor_be_it_one_voxel_or_beyond_all_of_them() -> None:
    found = anchors((16, 16), (8, 8))
    things = torch.tensor([[5.0, 5, 6, 6], [0, 0, 32, 32], [31, 0, 32, 1], [10, 2, 11, 30]])
    match = found.matched(things)
    assert [int((match == n).sum()) > 0 for n in range(4)] == [True] * 4


def test_an_anchor_of_two_objects_is_of_the_one_it_overlaps_more() -> None:
    found = anchors((4, 4), size=3.0)
    things = torch.tensor([[0.0, 0, 6, 6], [2, 0, 8, 6]])
    match = found.matched(things)
    own = overlaps(found.boxes, things)
    assert {int(n) for n in match} >= {0, 1}
    free = match >= 0
    assert torch.equal(match[free], own[free].argmax(1))


def test_where_there_is_no_object_all_are_of_nothing() -> None:
    found = anchors((4, 4, 4))
    assert found.matched(torch.zeros(0, 6)).tolist() == [NOTHING] * 64
