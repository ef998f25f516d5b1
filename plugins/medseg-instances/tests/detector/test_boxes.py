"""Boxes: closed forms, the coding there and back, suppression held against its definition."""

import itertools

import pytest
import torch  # noqa: TID253 - a test module
from medseg_instances.detector.boxes import clipped, decoded, encoded, kept, overlaps, real, sides


def boxes(count: int, dims: int, seed: int, *, most: int = 20) -> torch.Tensor:
    """Boxes with whole corners, so that many are equal or share faces."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.randint(0, most, (count, dims), generator=generator)
    size = torch.randint(1, most // 2, (count, dims), generator=generator)
    return torch.cat([low, low + size], 1).double()


def test_overlaps_are_those_of_rectangles() -> None:
    first = torch.tensor([[0.0, 0, 4, 4], [10, 10, 11, 11], [5, 5, 5, 9]])
    second = torch.tensor([[2.0, 2, 6, 6], [0, 0, 4, 4], [4, 0, 8, 4]])
    assert overlaps(first, second).tolist() == [[pytest.approx(4 / 28), 1.0, 0.0], [0, 0, 0], [0, 0, 0]]
    assert overlaps(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0  # of nothing with nothing


def test_overlaps_are_those_of_cuboids() -> None:
    first, second = torch.tensor([[0.0, 0, 0, 2, 3, 4]]), torch.tensor([[1.0, 1, 1, 3, 4, 5]])
    both = 1 * 2 * 3
    assert overlaps(first, second).item() == pytest.approx(both / (2 * 24 - both))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("weight", [(1.0, 1.0), (10.0, 5.0)])
def test_coding_there_and_back(dims: int, weight: tuple[float, float]) -> None:
    found, anchors = boxes(200, dims, 0), boxes(200, dims, 1)
    deltas = encoded(found, anchors, weight)
    assert torch.allclose(decoded(deltas, anchors, weight), found, atol=1e-9)
    assert torch.equal(encoded(anchors, anchors), torch.zeros(200, 2 * dims, dtype=torch.float64))


def test_coding_of_a_box_by_hand() -> None:
    """Twice as long along the first axis and moved by a quarter; half as long along the second."""
    anchor = torch.tensor([[10.0, 20, 18, 24]])
    found = encoded(torch.tensor([[8.0, 21, 24, 23]]), anchor)
    assert torch.allclose(found, torch.tensor([[0.25, 0.0, 0.6931472, -0.6931472]]))


def test_deltas_without_bound_give_boxes_that_are_finite() -> None:
    assert decoded(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0, 8, 8]])).isfinite().all()


def test_what_lies_outside_is_cut_off() -> None:
    found = clipped(torch.tensor([[-3.0, 5, 4, 30], [40, 2, 50, 3]]), (10, 20))
    assert found.tolist() == [[0, 5, 4, 20], [10, 2, 10, 3]]
    assert sides(found).tolist() == [[4, 15], [0, 1]]
    assert real(found).tolist() == [True, False]


def share(one: list[float], other: list[float]) -> float:
    """Intersection over union, in plain numbers."""
    dims = len(one) // 2
    both, size, its = 1.0, 1.0, 1.0
    for low, high in zip(range(dims), range(dims, 2 * dims), strict=True):
        both *= max(0.0, min(one[high], other[high]) - max(one[low], other[low]))
        size, its = size * (one[high] - one[low]), its * (other[high] - other[low])
    return both / (size + its - both)


def suppressed(found: list[list[float]], scores: list[float], most: float, kinds: list[int]) -> list[int]:
    """By its definition, one pair after the other."""
    stay: list[int] = []
    for n in sorted(range(len(scores)), key=lambda n: (-scores[n], n)):
        if all(kinds[m] != kinds[n] or share(found[m], found[n]) <= most for m in stay):
            stay.append(n)
    return stay


@pytest.mark.parametrize(("dims", "seed", "most"), list(itertools.product([2, 3], range(4), [0.0, 0.3, 0.7])))
def test_suppression_is_what_its_definition_gives(dims: int, seed: int, most: float) -> None:
    """With many equal scores and equal boxes."""
    found = boxes(60, dims, seed, most=12)
    found[50:] = found[:10]
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 8, (60,), generator=generator) / 8
    kinds = torch.randint(0, 3, (60,), generator=generator)
    one = kept(found, scores, most)
    assert one.tolist() == suppressed(found.tolist(), scores.tolist(), most, [0] * 60)
    own = kept(found, scores, most, kinds)
    assert own.tolist() == suppressed(found.tolist(), scores.tolist(), most, kinds.tolist())
    assert len(one) < len(own) <= 60


def test_nothing_is_suppressed_of_nothing() -> None:
    assert kept(torch.zeros(0, 6), torch.zeros(0), 0.5).tolist() == []
    assert kept(torch.tensor([[0.0, 0, 1, 1]]), torch.zeros(1), 0.5).tolist() == [0]
