import tracemalloc

import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_instances.flows import Flows
from touching import average_precision, balls, decoded, deep, flat, ideal, reference

from medseg.segmentation import Segmentation


@pytest.mark.parametrize("wanted", [flat(), deep()], ids=["2-D", "3-D"])
@pytest.mark.parametrize("most_error", [None, 0.4])
def test_objects_come_back_from_their_target(wanted: Segmentation, most_error: float | None) -> None:
    head = Flows(most_error=most_error)
    found = decoded(head, ideal(head, wanted), wanted)
    assert average_precision(found, wanted, 0.95) == {"round": 1.0, "long": 1.0}
    assert np.array_equal(found.array > 0, wanted.array > 0)
    assert {thing.label for thing in found.objects} == {"round", "long"}


def test_objects_that_bend_come_back() -> None:
    """Two half rings, one in the other, of which no line through the middle tells them apart."""
    place = np.indices((80, 80, 1)) - 40
    away, turn = np.hypot(place[0], place[1]), np.abs(np.arctan2(place[0], place[1]))
    ids = np.zeros((80, 80, 1), np.uint32)
    ids[(abs(away - 18) < 4) & (turn < 2.4)] = 1
    ids[(abs(away - 27) < 5) & (turn < 2.4) & (ids == 0)] = 2
    wanted, head = reference(ids), Flows()
    found = decoded(head, ideal(head, wanted), wanted)
    assert average_precision(found, wanted, 0.9) == {"round": 1.0, "long": None}


def test_channels_are_labels_and_steps() -> None:
    wanted = flat()
    target = Flows().target(wanted)
    assert target.shape == (6, 64, 66, 1)
    assert np.array_equal(target[:3].sum(axis=0), np.ones((64, 66, 1)))
    assert np.linalg.norm(target[3:], axis=0).max() == pytest.approx(1, abs=1e-5)
    assert not target[5].any()  # a picture has no third axis


def test_the_third_channel_of_a_picture_is_not_looked_at() -> None:
    head, wanted = Flows(), flat()
    logits = ideal(head, wanted)
    before = decoded(head, logits, wanted)
    logits[-1] = np.random.default_rng(0).normal(0, 3, logits.shape[1:])
    assert np.array_equal(decoded(head, logits, wanted).array, before.array)


def test_voxels_that_lead_nowhere_go_with_those_around() -> None:
    head, wanted = Flows(), reference(balls((40, 40, 1), [(20, 20)], [12]))
    logits = ideal(head, wanted)
    logits[-3:, 8:10, 20] = 0  # at its rim: nothing else comes by
    found = decoded(head, logits, wanted)
    assert np.array_equal(found.array, wanted.array)


def test_objects_whose_flows_disagree_are_left_out() -> None:
    """Two discs, of which one's flows go round it and not to its centre."""
    wanted = reference(balls((40, 80, 1), [(20, 20), (20, 60)], [12, 12]))
    logits = ideal(Flows(), wanted)
    second = wanted.array[0] == 2
    turned = np.stack([-logits[-2], logits[-3]]) * 0.9 + 0.3 * logits[-3:-1]
    logits[-3:-1] = np.where(second, turned, logits[-3:-1])
    assert len(decoded(Flows(), logits, wanted).objects) == 2
    found = decoded(Flows(most_error=0.4), logits, wanted)
    assert [thing.id for thing in found.objects] == [1]
    assert np.array_equal(found.array[0] > 0, wanted.array[0] == 1)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_mirrored_image_s_flows_are_turned_back(axes: tuple[int, ...]) -> None:
    head = Flows()
    wanted = deep() if 2 in axes else flat()
    logits = ideal(head, wanted)
    mirrored = np.flip(logits, tuple(1 + axis for axis in axes)).copy()
    mirrored[[-3 + axis for axis in axes]] *= -1  # the flows of the mirrored image
    assert np.array_equal(head.unmirror(mirrored, axes), logits)
    other = reference(np.flip(wanted.array[0], axes).copy())
    found = decoded(head, head.unmirror(ideal(head, other), axes), wanted)
    assert len(found.objects) == len(wanted.objects)
    assert average_precision(found, wanted, 0.9)["round"] == 1.0


def test_at_half_the_size_ways_are_as_long_and_turned_with_the_voxels() -> None:
    head = Flows()
    target = torch.zeros(1, 5, 8, 8)
    target[:, 1], target[:, 2], target[:, 3] = 1, 0.6, 0.8
    half = head.at_scale(target, (4, 4))
    assert half[0, :, 0, 0].tolist() == pytest.approx([0, 1, 0.6, 0.8, 0])
    flat_voxels = head.at_scale(target, (4, 8))  # twice as long along i: a step of as many mm is half as many
    assert flat_voxels[0, 2:, 0, 0].tolist() == pytest.approx([0.3 / 0.73**0.5, 0.8 / 0.73**0.5, 0])
    assert not head.at_scale(torch.zeros(1, 5, 8, 8), (4, 4)).any()


def test_batches_of_pictures_have_targets() -> None:
    wanted, head = flat(), Flows()
    ids = torch.from_numpy(wanted.array[:, :, :, 0].astype(np.int64))[None]
    values = torch.from_numpy(wanted.by_label().array[:, :, :, 0].astype(np.int64))[None]
    found = head.targets(values, wanted.labels, spacing=(1.0, 1.0), objects=ids)
    assert np.array_equal(found[0].numpy(), head.target(wanted)[..., 0])


@pytest.mark.parametrize("most_error", [None, 0.4])
def test_memory_is_what_was_said(most_error: float | None) -> None:
    """Where all is in objects; scores are counted by whoever read them."""
    wanted, head = reference(np.ones((200, 200, 1), np.uint32)), Flows(most_error=most_error)
    logits = ideal(head, wanted)
    tracemalloc.start()
    head.decode(logits)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most + logits.nbytes < head.work_bytes(wanted.labels, wanted.grid)
