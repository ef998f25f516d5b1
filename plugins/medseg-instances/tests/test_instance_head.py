"""Things and stuff: what both are made of, and that every voxel of a label has one label and one id."""

import tracemalloc

import numpy as np
import pytest
from medseg_instances.border_core import BorderCore
from medseg_instances.distance_watershed import DistanceWatershed
from medseg_instances.embedding import Embedding
from medseg_instances.flows import Flows
from medseg_instances.instance_head import InstanceHead, Objects, softmax
from medseg_instances.star_convex import StarConvex
from numpy.typing import NDArray
from scipy.ndimage import find_objects  # noqa: TID253
from scipy.spatial.distance import cdist  # noqa: TID253
from touching import average_precision, balls, decoded, ideal, reference

from medseg.builtin.metric.panoptic_quality import PanopticQuality
from medseg.errors import PipelineError
from medseg.inference import ObjectSink
from medseg.prediction import Scores
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

TABLE = LabelTable((Label(1, "vessel"), Label(4, "nucleus"), Label(6, "tissue")))
STUFF = ("vessel", "tissue")


class Small(ObjectSink):
    most_voxels = 1500


class Outlined(DistanceWatershed):
    """With the outline."""

    outline: float = 0.5


def slide() -> Segmentation:
    """Nuclei that touch, in tissue with a vessel in it; glass on the left is background."""
    ids = balls((64, 66, 1), [(20, 20), (20, 40), (45, 30), (60, 5)], [10, 10, 12, 7])
    i, j, _ = np.indices(ids.shape)
    vessel = (np.abs(j - 54) < 4) & (ids == 0)
    values = np.where(ids > 0, 4, np.where(vessel, 1, np.where(i < 12, 0, 6)))
    whole = np.where(ids > 0, ids + 2, np.where(vessel, 1, np.where(i < 12, 0, 2))).astype(np.uint32)
    return Segmentation.from_objects(whole[None], values[None], Grid((64, 66, 1), np.eye(4)), TABLE)


@pytest.mark.parametrize("kind", [BorderCore, DistanceWatershed])
def test_a_panoptic_segmentation_comes_back_from_its_target(kind: type[InstanceHead]) -> None:
    wanted = slide()
    head = kind(stuff=STUFF, size=24)
    found = decoded(head, ideal(head, wanted), wanted)
    assert np.array_equal(found.by_label().array, wanted.by_label().array)
    assert average_precision(found, wanted, 0.95) == {"vessel": 1.0, "nucleus": 1.0, "tissue": 1.0}
    assert [thing.label for thing in found.objects] == [*["nucleus"] * 4, "vessel", "tissue"]
    quality = {row.label: row.value for row in PanopticQuality()(found, wanted) if row.quantity == "pq"}
    assert quality == pytest.approx({"vessel": 1.0, "nucleus": 1.0, "tissue": 1.0}, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "depends"),
    [(BorderCore, True), (DistanceWatershed, False), (Embedding, True), (Flows, False), (StarConvex, True)],
)
def test_what_depends_on_lengths_in_voxels_says_so(kind: type[InstanceHead], depends: bool) -> None:
    """The ideal output for an image of twice as many voxels along each axis, beside the image's own."""
    head = kind(axes=2) if kind is StarConvex else kind()
    ids = balls((48, 48, 1), [(14, 14), (32, 32)], [9, 11])
    small, large = (
        head.logits(head.target(reference(each))) for each in (ids, ids.repeat(2, 0).repeat(2, 1))
    )
    off = np.abs(large[:, ::2, ::2] - small)[:, ids > 0] > 1
    assert (off.mean() > 0.05) == depends
    assert head.lengths_in_voxels == depends


@pytest.mark.parametrize("kind", [BorderCore, DistanceWatershed])
def test_stuff_is_one_object_over_all_blocks(kind: type[InstanceHead]) -> None:
    wanted = slide()
    head = kind(stuff=STUFF, size=24)
    sink = Small(
        TABLE,
        grid=wanted.grid,
        axis=2,
        channels=head.channels(TABLE),
        decode=lambda logits: head._decoded(TABLE, logits),  # as `sink` has it, with smaller blocks
        margin=24,
    )
    sink.take(Scores(ideal(head, wanted), wanted.grid, "logits"), 0)
    tiled = sink.finish()
    whole = decoded(head, ideal(head, wanted), wanted)
    assert np.array_equal(tiled.array, whole.array)
    assert tiled.objects == whole.objects


def test_every_voxel_has_one_label_and_one_id_whatever_the_scores() -> None:
    wanted = slide()
    head = DistanceWatershed(stuff=STUFF, least_voxels=20)
    noise = np.random.default_rng(0).normal(0, 6, (head.channels(TABLE), *wanted.grid.shape))
    found = decoded(head, ideal(head, wanted) + noise.astype(np.float32), wanted)
    known = {thing.id for thing in found.objects}
    assert set(np.unique(found.array).tolist()) - {0} <= known
    assert len(known) == len(found.objects)
    assert sum(thing.label == "tissue" for thing in found.objects) == 1


def test_stuff_has_labels_and_no_ids() -> None:
    wanted = slide()
    objects = Objects(wanted, STUFF)
    assert set(np.unique(objects.labels).tolist()) == {0, 1, 2, 3}
    assert np.array_equal(objects.ids > 0, wanted.mask("nucleus"))
    assert objects.depth()[wanted.mask("tissue")].max() == 0


def test_depth_and_most_of_each() -> None:
    ids = np.zeros((9, 20, 1), np.uint32)
    ids[2:7, 2:7], ids[2:7, 7:18] = 9, 4
    table = LabelTable((Label(1, "a"),))
    grid = Grid((9, 20, 1), np.diag([0.5, 0.5, 2, 1]))
    objects = Objects(Segmentation.from_objects(ids[None], (ids > 0)[None].astype(np.uint8), grid, table))
    depth = objects.depth()[:, :, 0]
    assert depth[4, 2:7].tolist() == [1, 2, 3, 2, 1]  # to the neighbour object, too
    assert objects.most_of_each(objects.depth())[4, 2:18, 0].tolist() == [3] * 16
    assert objects.most_of_each(objects.depth())[0, 0, 0] == 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 2.0)])
def test_closeness_is_that_of_all_pairs_of_voxels(spacing: tuple[float, ...]) -> None:
    """Against distances from every voxel to every voxel of each object."""
    ids = balls((24, 22, 4), [(6, 6, 1), (6, 15, 1), (18, 9, 3), (18, 20, 3)], [4, 4, 4, 2])
    objects, width = Objects(reference(ids, np.diag([*spacing, 1.0]))), 2.5
    places = np.argwhere(ids >= 0) * spacing / min(spacing)
    away = [cdist(places, places[ids.ravel() == number]).min(axis=1) for number in range(1, 5)]
    both = np.sort(away, axis=0)[:2].sum(axis=0).reshape(ids.shape)
    expected = np.where(both <= 3 * width, np.exp(-((both / width) ** 2) / 2), 0)
    found = objects.closeness(width)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.max() > 0.5
    assert (found == 0).any()


@pytest.mark.parametrize("thickness", [0.05, 20.0])
def test_gaps_and_depths_do_not_depend_on_how_thick_a_single_slice_is(thickness: float) -> None:
    ids = balls((40, 40, 1), [(12, 12), (12, 30), (32, 20)], [8, 8, 7])
    thin, even = (Objects(reference(ids, np.diag([2.0, 2.0, side, 1.0]))) for side in (thickness, 2.0))
    assert np.array_equal(thin.closeness(4.0), even.closeness(4.0))
    assert np.array_equal(thin.depth(), even.depth())
    assert even.closeness(4.0).sum() > 20


@pytest.mark.parametrize("ids", [np.zeros((6, 6, 1)), np.ones((6, 6, 1)), np.eye(6)[..., None]])
def test_where_there_are_not_two_objects_nothing_is_close(ids: NDArray[np.float64]) -> None:
    assert not Objects(reference(ids.astype(np.uint32))).closeness(4.0).any()


def test_objects_without_a_background_are_close_where_they_meet() -> None:
    ids = np.where(np.arange(20) < 10, 1, 2).astype(np.uint32).reshape(20, 1, 1).repeat(8, axis=1)
    found = Objects(reference(ids)).closeness(2.0)[:, 0, 0]
    steps = np.minimum(abs(np.arange(20) - 9), abs(np.arange(20) - 10)) + 1.0  # to the other one
    np.testing.assert_allclose(found, np.where(steps <= 6, np.exp(-((steps / 2) ** 2) / 2), 0), atol=1e-6)


def test_an_object_that_fills_the_image_is_deep_everywhere() -> None:
    ids = np.ones((6, 5, 4), np.uint32)
    table = LabelTable((Label(1, "a"),))
    whole = Segmentation.from_objects(ids[None], ids[None], Grid((6, 5, 4), np.eye(4)), table)
    assert (Objects(whole).depth() == 15).all()


def test_softmax_does_not_overflow() -> None:
    shares = softmax(np.array([1e4, 0, -1e4], np.float32).reshape(3, 1, 1, 1))
    assert shares.ravel().tolist() == [1, 0, 0]


@pytest.mark.parametrize("kind", [BorderCore, DistanceWatershed, Outlined])
@pytest.mark.parametrize(("labels", "stuff"), [(2, 0), (2, 1), (20, 0), (20, 10)])
def test_memory_is_what_was_said(
    kind: type[InstanceHead], labels: int, stuff: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ids and of the largest block, where objects fill most of the image."""
    monkeypatch.setattr("medseg.inference.objects.MOST_BYTES", 10_000_000)
    names = [f"label {n}" for n in range(labels)]
    table = LabelTable(tuple(Label(n, name) for n, name in enumerate(names, start=1)))
    centres = [(a, b, c) for a in range(7, 48, 12) for b in range(7, 48, 12) for c in range(7, 48, 12)]
    ids = balls((48, 48, 48), centres, [7] * len(centres))
    grid = Grid((48, 48, 48), np.eye(4))
    values = np.where(ids > 0, labels, np.indices(ids.shape)[0] // 24)
    number = np.where(ids > 0, 1 + ids, values).astype(np.uint32)
    wanted = Segmentation.from_objects(number[None], values[None], grid, table)
    head = kind(stuff=tuple(names[:stuff]), size=8)
    sink = head.sink(table, grid=grid, axis=2, onto=grid)
    logits = ideal(head, wanted)
    sink.take(Scores(logits, grid, "logits"), 0)
    find_objects(head.decode(logits[:, :8, :8, :8]).ids)  # libraries are loaded
    told = head.work_bytes(table, grid)
    tracemalloc.start()
    sink.finish()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * told < most <= told


@pytest.mark.parametrize("head", [BorderCore(size=8), StarConvex(size=8, rays=16)])
def test_of_several_sinks_one_block_is_decoded_at_a_time(head: InstanceHead) -> None:
    """What an ensemble's members take, each with ids of its own."""
    wanted = reference(balls((48, 48, 48), [(12, 12, 12), (12, 12, 30), (34, 34, 34)], [9, 9, 10]))
    scores = Scores(ideal(head, wanted), wanted.grid, "logits")
    sinks = [head.sink(wanted.labels, grid=wanted.grid, axis=2, onto=wanted.grid) for _ in range(4)]
    for sink in sinks:
        sink.take(scores, 0)
    head.decode(scores.array[:, :8, :8, :8])  # libraries are loaded
    work, block = (told(wanted.labels, wanted.grid) for told in (head.work_bytes, head.finishing_bytes))
    tracemalloc.start()
    found = [sink.finish() for sink in sinks]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 4
    assert most <= 4 * (work - block) + block < 2 * work


# ---- what all heads do


class InBlocks(ObjectSink):
    """Blocks of a few voxels."""

    most_voxels = 3000


HEADS: dict[type[InstanceHead], tuple[int, float]] = {
    BorderCore: (1, 0.0),
    DistanceWatershed: (1, 0.1),
    Outlined: (1, 0.1),
    Flows: (3, 0.15),
    Embedding: (4, 0.3),
}
"""Of each head the channels at the end that are rough as a network might give them, and how rough."""


@pytest.mark.parametrize(("shape", "spread"), [((150, 140, 1), 16), ((40, 38, 36), 16)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("thickness", [1.0, 2.5])
@pytest.mark.parametrize("kind", HEADS)
def test_blocks_give_what_the_whole_gives(
    kind: type[InstanceHead], shape: tuple[int, int, int], spread: int, thickness: float
) -> None:
    """Discs side by side, over every border between blocks."""
    axes = [range(6, n, spread) if n > 1 else (0,) for n in shape]
    centres = [(a, b, c) for a in axes[0] for b in axes[1] for c in axes[2]]
    ids = balls(shape, centres, [spread * 0.51] * len(centres))
    wanted = reference(ids, np.diag([1.0, 1.0, thickness, 1.0]))
    head, (fields, rough) = kind(size=16), HEADS[kind]
    logits = ideal(head, wanted)
    logits[-fields:] += np.random.default_rng(0).normal(0, rough, logits[-fields:].shape)
    whole = decoded(head, logits, wanted)
    tiled = decoded(head, logits, wanted, InBlocks)
    assert average_precision(whole, wanted, 0.7) == {"round": 1.0, "long": 1.0}
    assert np.array_equal(whole.array, tiled.array)
    assert whole.objects == tiled.objects


@pytest.mark.parametrize("kind", HEADS)
def test_nothing_gives_nothing(kind: type[InstanceHead]) -> None:
    empty, head = reference(np.zeros((20, 18, 1), np.uint32)), kind()
    assert decoded(head, ideal(head, empty), empty).objects == ()


@pytest.mark.parametrize("kind", HEADS)
def test_a_few_voxels_are_no_object(kind: type[InstanceHead]) -> None:
    wanted = reference(balls((40, 40, 1), [(10, 10), (30, 30)], [6, 1]))
    logits = ideal(kind(), wanted)
    assert len(decoded(kind(least_voxels=6), logits, wanted).objects) == 1
    assert len(decoded(kind(least_voxels=5), logits, wanted).objects) == 2


@pytest.mark.parametrize("kind", HEADS)
def test_a_single_voxel_is_an_object(kind: type[InstanceHead]) -> None:
    ids = np.zeros((12, 12, 1), np.uint32)
    ids[5, 5] = 1
    head, wanted = kind(least_voxels=1), reference(ids)
    assert np.array_equal(decoded(head, ideal(head, wanted), wanted).array, wanted.array)


@pytest.mark.parametrize("kind", HEADS)
def test_overlapping_labels_are_refused(kind: type[InstanceHead]) -> None:
    with pytest.raises(PipelineError, match="'b' is in layer 1; leave layer: out"):
        kind().channels(LabelTable((Label(1, "a"), Label(2, "b", layer=1))))
