"""Anchors: where they are, and which objects they are of, on lattices so small that it is known."""

import itertools
import math
from collections.abc import Sequence

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


def by_definition(
    found: Anchors, things: torch.Tensor, levels: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[int]:
    """ATSS in plain numbers: for each anchor its object, of several the one that it overlaps most.

    Before all others comes an object of which it is the best.
    """
    own = overlaps(found.boxes.double(), things.double())
    claims: list[tuple[bool, float, int, int]] = []
    for number, thing in enumerate(things.tolist()):
        dims, first = len(thing) // 2, 0
        near: list[int] = []
        middle = [(thing[axis] + thing[dims + axis]) / 2 for axis in range(dims)]
        for size, stride in levels:
            count = math.prod(size)
            far: list[tuple[float, int]] = []
            for place, at in enumerate(itertools.product(*map(range, size))):
                steps = zip(at, middle, stride, strict=True)
                far.append((sum((a + 0.5 - b / step) ** 2 for a, b, step in steps), place))
            for _, place in sorted(far)[:4]:
                near += range(first + place * found.shapes, first + (place + 1) * found.shapes)
            first += count * found.shapes
        values = [float(own[anchor, number]) for anchor in near]
        mean = sum(values) / len(values)
        least = mean + math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        best = max(zip(values, near, strict=True))[1]
        for value, anchor in zip(values, near, strict=True):
            if anchor == best or (value >= least and value > 0):
                claims.append((anchor == best, value, anchor, number))
    match = [NOTHING] * len(found.boxes)
    for _, _, anchor, number in sorted(claims):
        match[anchor] = number
    return match


@pytest.mark.parametrize(
    "levels",
    [
        (((8, 8), (2, 2)), ((4, 4), (4, 4))),
        (((6, 6, 8), (2, 2, 1)), ((3, 3, 4), (4, 4, 2))),
    ],
    ids=["in a picture", "in thick slices"],
)
def test_objects_have_the_anchors_that_the_definition_gives(
    levels: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...],
) -> None:
    dims = len(levels[0][0])
    features = [torch.zeros(1, 1, *size) for size, _ in levels]
    found = Anchors.of(features, [stride for _, stride in levels], shapes(2.0, 1, (2.0,), dims))
    whole = torch.tensor([n * step for n, step in zip(*levels[0], strict=True)])
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        low = torch.rand((6, dims), generator=generator) * whole * 0.8
        size = (0.1 + 0.5 * torch.rand((6, dims), generator=generator)) * whole
        things = torch.cat([low, torch.minimum(low + size, whole)], 1)
        assert found.matched(things).tolist() == by_definition(found, things, levels)


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
