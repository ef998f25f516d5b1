"""Which object a proposal is of, and which proposals are learnt from."""

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import batch, two_boxes
from medseg_instances.detector.anchors import NOTHING, UNDECIDED
from medseg_instances.detector.matching import balanced, decided, drawn, proposals_matched
from medseg_instances.detector.truth import Truth
from touching import TABLE

OBJECTS = torch.tensor([[0.0, 0, 4, 4], [4, 0, 8, 4]])


def test_a_proposal_is_of_what_it_overlaps_most() -> None:
    """Overlaps of 1, 1/2, 1/3 with both, a little more with the second, and none."""
    proposals = torch.tensor(
        [[0.0, 0, 4, 4], [0, 0, 4, 2], [2, 0, 6, 4], [2.2, 0, 6.2, 4], [10, 10, 12, 12], [4, 0, 8, 8]]
    )
    assert proposals_matched(proposals, OBJECTS, 0.5).tolist() == [0, 0, NOTHING, NOTHING, NOTHING, 1]
    assert proposals_matched(proposals, OBJECTS, 0.3).tolist() == [0, 0, 0, 1, NOTHING, 1]


def test_without_objects_or_proposals() -> None:
    assert proposals_matched(torch.rand(1000, 6), torch.zeros(0, 6), 0.5).tolist() == [NOTHING] * 1000
    assert proposals_matched(torch.zeros(0, 4), OBJECTS, 0.5).tolist() == []


def test_background_in_which_something_is_unknown_is_not_learnt() -> None:
    unknown = np.zeros((1, 16, 16), np.bool_)
    unknown[0, :2, :2] = True
    truth = Truth.of(batch(two_boxes(2)[None], unknown=unknown), 0, TABLE)
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 2, 8, 8], [1, 1, 8, 8], [9, 0, 16, 8]])
    match = torch.tensor([NOTHING, 0, 0, NOTHING])
    assert decided(match, boxes, truth).tolist() == [UNDECIDED, 0, 0, NOTHING]


@pytest.mark.parametrize(
    ("objects", "background", "wanted"),
    [(100, 100, (16, 48)), (3, 100, (3, 61)), (100, 5, (16, 5)), (0, 9, (0, 9))],
)
def test_a_share_is_of_objects(objects: int, background: int, wanted: tuple[int, int]) -> None:
    match = torch.tensor([0] * objects + [NOTHING] * background + [UNDECIDED] * 50)
    own, rest = balanced(match, 64, 0.25)
    assert (len(own), len(rest)) == wanted
    assert (match[own] >= 0).all()
    assert (match[rest] == NOTHING).all()
    assert len(set(own.tolist()) | set(rest.tolist())) == sum(wanted)


def test_what_is_drawn_follows_from_the_generator() -> None:
    torch.manual_seed(4)
    first = drawn(torch.arange(50), 10)
    torch.manual_seed(4)
    assert torch.equal(drawn(torch.arange(50), 10), first)
