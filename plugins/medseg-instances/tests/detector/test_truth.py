"""The truth of a sample: boxes, labels, masks, and what is not to be learnt from."""

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import batch, two_boxes
from medseg_instances.detector.truth import Truth
from touching import TABLE


def test_objects_have_boxes_and_labels() -> None:
    """ "long" is the second label of the table; one that the patch cuts ends where the patch does."""
    for dims in (2, 3):
        found = Truth.of(batch(two_boxes(dims)[None]), 0, TABLE)
        assert found.boxes.tolist() == [[2.0] * dims + [8.0] * dims, [9.0] * dims + [16.0] * dims]
        assert (found.labels.tolist(), found.ids.tolist()) == ([1, 0], [3, 7])


def test_a_single_voxel_is_an_object_and_nothing_is_none() -> None:
    ids = np.zeros((2, 8, 8), np.int32)
    ids[0, 5, 0] = 12
    one, none = (Truth.of(batch(ids), number, TABLE) for number in range(2))
    assert (one.boxes.tolist(), one.labels.tolist()) == ([[5, 0, 6, 1]], [1])
    assert (tuple(none.boxes.shape), tuple(none.labels.shape)) == ((0, 4), (0,))
    assert not none.hides(torch.tensor([[0.0, 0, 8, 8]])).any()


def test_objects_of_other_layers_may_overlap() -> None:
    given = batch(np.zeros((1, 8, 8), np.int32))
    given["objects"] = torch.zeros(1, 2, 8, 8, dtype=torch.int32)
    given["labels"] = torch.zeros(1, 2, 8, 8, dtype=torch.int32)
    given["objects"][0, 0, 1:5, 1:5], given["labels"][0, 0, 1:5, 1:5] = 4, 2
    given["objects"][0, 1, 3:7, 3:8], given["labels"][0, 1, 3:7, 3:8] = 4, 5
    from medseg.segmentation import Label, LabelTable

    table = LabelTable((Label(2, "a"), Label(5, "b", layer=1)))
    found = Truth.of(given, 0, table)
    assert found.boxes.tolist() == [[1, 1, 5, 5], [3, 3, 7, 8]]
    assert (found.labels.tolist(), found.layers.tolist()) == ([0, 1], [0, 1])
    assert torch.equal(found.masks(found.boxes, torch.tensor([0, 1]), 4), torch.ones(2, 4, 4))


def test_objects_that_reach_the_unknown_are_unknown() -> None:
    """All of them: their other end is no background either."""
    ids, unknown = two_boxes(2)[None], np.zeros((1, 16, 16), np.bool_)
    unknown[0, 14:, 14:] = True
    found = Truth.of(batch(ids, unknown=unknown), 0, TABLE)
    assert found.ids.tolist() == [3]
    assert np.array_equal(found.unknown.numpy(), unknown[0] | (ids[0] == 7))
    hidden = found.hides(
        torch.tensor([[0.0, 0, 9, 9], [8.5, 8.5, 9.5, 9.5], [12, 0, 16, 8], [-5, -5, 30, 30]])
    )
    assert hidden.tolist() == [False, True, False, True]


@pytest.mark.parametrize("dims", [2, 3])
def test_what_boxes_hide_is_counted_as_by_hand(dims: int) -> None:
    rng = np.random.default_rng(3)
    unknown = rng.random((1, *(9,) * dims)) < 0.02
    found = Truth.of(batch(np.zeros(unknown.shape, np.int32), unknown=unknown), 0, TABLE)
    low = rng.uniform(-2, 8, (200, dims))
    boxes = np.concatenate([low, low + rng.uniform(0, 4, (200, dims))], 1)
    wanted = []
    for box in boxes:
        region = tuple(
            slice(max(0, int(np.floor(a))), max(0, int(np.ceil(b))))
            for a, b in zip(box[:dims], box[dims:], strict=True)
        )
        wanted.append(bool(unknown[0][region].any()))
    assert found.hides(torch.from_numpy(boxes)).tolist() == wanted
    assert 0 < sum(wanted) < 200


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_are_how_much_of_a_cell_is_the_objects(dims: int) -> None:
    """In its own box all, in one twice as wide that begins with it the first half; linear at its end."""
    found = Truth.of(batch(two_boxes(dims)[None]), 0, TABLE)
    boxes = torch.tensor([[2.0] * dims + [8.0] * dims, [2.0] * dims + [14.0] + [8.0] * (dims - 1)])
    own, wide = found.masks(boxes, torch.tensor([0, 0]), 6)
    assert torch.equal(own, torch.ones((6,) * dims))
    assert torch.equal(wide[:3], torch.ones((3, *(6,) * (dims - 1))))
    assert torch.equal(wide[3:], torch.zeros((3, *(6,) * (dims - 1))))
    shifted = found.masks(boxes[:1] + torch.tensor([0.25] + [0.0] * (2 * dims - 1)), torch.tensor([0]), 1)
    assert shifted.item() == 1
    other = found.masks(boxes[:1], torch.tensor([1]), 6)
    assert not other.any()
