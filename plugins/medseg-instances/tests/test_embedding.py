import tracemalloc

import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_instances.embedding import Embedding
from touching import average_precision, balls, decoded, deep, flat, ideal, reference

from medseg.segmentation import Segmentation


@pytest.mark.parametrize("wanted", [flat(), deep()], ids=["2-D", "3-D"])
@pytest.mark.parametrize("dimensions", [4, 6])
def test_objects_come_back_from_their_target_voxel_by_voxel(wanted: Segmentation, dimensions: int) -> None:
    head = Embedding(dimensions=dimensions)
    found = decoded(head, ideal(head, wanted), wanted)
    assert average_precision(found, wanted, 0.99) == {"round": 1.0, "long": 1.0}
    assert np.array_equal(found.array > 0, wanted.array > 0)
    assert {thing.label for thing in found.objects} == {"round", "long"}


def test_objects_within_each_other_and_in_pieces_come_back() -> None:
    """A disc in a ring in a ring, all with one middle; and one object in two pieces."""
    place = np.indices((70, 100, 1))
    away = np.hypot(place[0] - 35, place[1] - 35)
    ids = np.select([away < 10, away < 20, away < 30], [1, 2, 3], 0).astype(np.uint32)
    ids[10:60, 75:80], ids[10:60, 85:90] = 4, 4
    head, wanted = Embedding(), reference(ids)
    found = decoded(head, ideal(head, wanted), wanted)
    pairs = np.unique(np.stack([found.array.ravel(), wanted.array.ravel()]), axis=1)
    assert pairs.shape == (2, 5)  # the background, and one for one


def test_channels_are_labels_numbers_and_room_for_the_point() -> None:
    wanted = flat()
    target = Embedding(dimensions=5).target(wanted)
    assert target.shape == (8, 64, 66, 1)
    assert np.array_equal(target[:3].sum(axis=0), np.ones((64, 66, 1)))
    assert np.array_equal(target[3], wanted.array[0])
    assert not target[4:].any()


def test_numbers_are_small_whatever_the_ids() -> None:
    """Float counts to 16 million only."""
    ids = np.zeros((9, 9, 1), np.uint32)
    ids[1:3, 1:3], ids[5:8, 5:8] = 4_000_000_001, 4_000_000_002
    assert np.unique(Embedding().target(reference(ids))[3]).tolist() == [0, 1, 2]


def test_points_may_be_a_little_off() -> None:
    """Half a unit is what the loss lets them be."""
    head, wanted = Embedding(), flat()
    logits = ideal(head, wanted)
    rng = np.random.default_rng(0)
    off = rng.normal(size=logits[-4:].shape)
    off *= 0.5 * rng.random(off.shape[1:]) / np.linalg.norm(off, axis=0)
    logits[-4:] += off
    assert average_precision(decoded(head, logits, wanted), wanted, 0.99) == {"round": 1.0, "long": 1.0}


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_mirrored_image_s_points_are_turned_back(axes: tuple[int, ...]) -> None:
    head = Embedding()
    wanted = deep() if 2 in axes else flat()
    logits = ideal(head, wanted)
    mirrored = reference(np.flip(wanted.array[0], axes).copy())
    assert head.unmirror(ideal(head, mirrored), axes) == pytest.approx(logits, abs=1e-4)
    found = decoded(head, head.unmirror(ideal(head, mirrored), axes), wanted)
    assert average_precision(found, wanted, 0.99) == {"round": 1.0, "long": 1.0}


def test_in_a_picture_the_third_number_is_no_place() -> None:
    """Mirroring along an axis of one voxel leaves it as it is."""
    logits = np.random.default_rng(0).normal(size=(7, 5, 6, 1)).astype(np.float32)
    assert np.array_equal(Embedding().unmirror(logits, (2,)), logits)


def test_windows_that_each_see_a_half_agree_on_the_average() -> None:
    """What two windows say of a voxel means the same place, whatever voxel each counts from."""
    head, wanted = Embedding(), reference(balls((40, 60, 1), [(20, 20), (20, 40)], [9.9, 9.9]))
    logits = ideal(head, wanted)
    left, right = (
        ideal(head, reference(wanted.array[0][:, part].copy())) for part in (slice(40), slice(20, 60))
    )
    share = np.linspace(1, 0, 20, dtype=np.float32)[:, None]
    joined = np.concatenate(
        [left[:, :, :20], share * left[:, :, 20:] + (1 - share) * right[:, :, :20], right[:, :, 20:]], axis=2
    )
    assert joined.shape == logits.shape
    assert average_precision(decoded(head, joined, wanted), wanted, 0.9)["round"] == 1.0


def test_coarser_targets_keep_whole_numbers() -> None:
    target = torch.from_numpy(Embedding().target(flat()))[None, ..., 0]
    half = Embedding().at_scale(target, (32, 33))
    assert torch.equal(half[:, 3], half[:, 3].round())
    assert half[:, 3].max() == 6


def test_memory_is_what_was_said() -> None:
    """Where all is in objects; scores are counted by whoever read them."""
    wanted, head = reference(np.ones((200, 200, 1), np.uint32)), Embedding(dimensions=6)
    logits = ideal(head, wanted)
    tracemalloc.start()
    head.decode(logits)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most + logits.nbytes < head.work_bytes(wanted.labels, wanted.grid)
