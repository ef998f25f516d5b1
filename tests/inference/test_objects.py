"""Objects are the same whether an image is decoded whole or in blocks, wherever borders between these lie."""

from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.inference import Decoded, ObjectSink
from medseg.inference.objects import object_bytes
from medseg.prediction import Scores
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

TABLE = LabelTable((Label(1, "round"), Label(4, "long")))
Floats = NDArray[np.float32]


class Small(ObjectSink):
    """Blocks of a few pixels."""

    most_voxels: ClassVar[int] = 4000


class SmallIn3d(ObjectSink):
    """Blocks of a few voxels."""

    most_voxels: ClassVar[int] = 16000


class InCubes(ObjectSink):
    """Blocks that objects may be longer than."""

    most_voxels: ClassVar[int] = 50_000


def parts(scores: Floats) -> Decoded:
    """Connected parts of what is above 0; the second channel says by its sign which label they have."""
    import cc3d

    ids = np.asarray(cc3d.connected_components(np.ascontiguousarray(scores[0] > 0), connectivity=6), np.int32)
    count = int(ids.max())
    anchors, labels = np.zeros((count, 3), np.int64), np.zeros(count, np.int64)
    for n in range(count):
        anchors[n] = np.argwhere(ids == n + 1)[0]
        labels[n] = int(scores[1][tuple(anchors[n])] > 0)
    return Decoded(ids, anchors, labels, np.full(count, 0.75, np.float32))


def decoded(
    scores: Floats, kind: type[ObjectSink] = ObjectSink, *, margin: int = 6, **more: Any
) -> Segmentation:
    """What a sink makes of scores that come whole."""
    i, j, k = scores.shape[1:]
    grid = Grid((i, j, k), np.diag([1.0, 2.0, 3.0, 1.0]))
    sink = kind(TABLE, grid=grid, axis=2, channels=2, decode=more.get("decode", parts), margin=margin)
    sink.take(Scores(scores, grid, "logits"), 0)
    return sink.finish()


def scattered(shape: tuple[int, int, int], count: int, seed: int) -> Floats:
    """Balls and bars at random places, some of which meet."""
    rng = np.random.default_rng(seed)
    inside = np.zeros(shape, np.bool_)
    place = np.indices(shape)
    for _ in range(count):
        centre = [rng.uniform(0, n) for n in shape]
        radii = rng.uniform(1, 5, 3)
        far = sum(((a - c) / r) ** 2 for a, c, r in zip(place, centre, radii, strict=True))
        inside |= np.asarray(far <= 1)
    which = np.where(place[0] % 20 < 10, -1.0, 1.0)
    return np.stack([np.where(inside, 1.0, -1.0), which]).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "count", "kind"), [((120, 90, 1), 60, Small), ((40, 44, 38), 35, SmallIn3d)]
)
@pytest.mark.parametrize("seed", range(3))
def test_blocks_give_what_the_whole_gives(
    shape: tuple[int, int, int], count: int, kind: type[ObjectSink], seed: int
) -> None:
    scores = scattered(shape, count, seed)
    whole, tiled = decoded(scores), decoded(scores, kind)
    assert len(whole.objects) > 10
    assert np.array_equal(tiled.array, whole.array)
    assert tiled.objects == whole.objects
    assert {thing.label for thing in whole.objects} == {"round", "long"}
    assert whole.kinds == ("objects",)
    assert {thing.score for thing in whole.objects} == {0.75}


def test_blocks_are_blocks() -> None:
    """The test above would say nothing if all were decoded at once."""
    seen: list[tuple[int, ...]] = []

    def watched(scores: Floats) -> Decoded:
        seen.append(scores.shape[1:])
        return parts(scores)

    decoded(scattered((120, 90, 1), 60, 0), Small, decode=watched)
    assert len(seen) > 3
    assert max(map(np.prod, seen)) <= Small.most_voxels


def test_an_object_larger_than_the_margin_is_found_whole() -> None:
    """A bar through several blocks, as long as a block may become."""
    scores = np.full((2, 300, 60, 1), -1, np.float32)
    scores[0, 20:150, 30:33] = 1
    found = decoded(scores, Small)
    assert len(found.objects) == 1
    assert np.array_equal(found.array[0] > 0, scores[0] > 0)


def test_a_long_object_is_read_again_alone_where_its_block_has_no_room() -> None:
    """A rod through a cube, which blocks can only follow in its own direction."""
    scores = np.full((2, 90, 90, 90), -1, np.float32)
    scores[0, 4:84, 40:46, 50:56] = 1
    seen: list[int] = []

    def watched(scores: Floats) -> Decoded:
        seen.append(scores[0].size)
        return parts(scores)

    found = decoded(scores, InCubes, margin=12, decode=watched)
    assert np.array_equal(found.array[0] > 0, scores[0] > 0)
    assert [dict(thing.attributes) for thing in found.objects] == [{}]
    assert 1 < max(seen) <= InCubes.most_voxels


@pytest.mark.parametrize("seed", range(3))
def test_objects_larger_than_any_block_are_joined_and_say_so(seed: int) -> None:
    """A comb, whose teeth meet in its back only; a block that touches nothing; and small objects."""
    scores = scattered((330, 150, 1), 60, seed)
    scores[0, 20:310, 20:120] = -1
    scores[0, 30:300, 90:110] = 1
    for tooth in (30, 100, 270):
        scores[0, tooth : tooth + 20, 25:110] = 1
    scores[0, 130:260, 25:60] = 1
    whole, tiled = decoded(scores), decoded(scores, Small)
    assert np.array_equal(tiled.array, whole.array)
    assert [(a.label, a.score) for a in tiled.objects] == [(b.label, b.score) for b in whole.objects]
    large = {int(whole.array[0, 110, 100, 0]), int(whole.array[0, 200, 50, 0])}
    assert len(large) == 2
    assert {thing.id for thing in tiled.objects if thing.attributes == {"joined": True}} == large


def test_an_object_that_blocks_see_differently_is_painted_once() -> None:
    """A decoder whose anchors wander with the block: what most of is there already is not there again."""

    def wandering(scores: Floats) -> Decoded:
        found = parts(scores)
        last = np.array([np.argwhere(found.ids == n + 1)[-1] for n in range(len(found.anchors))])
        wide = scores.shape[1] > 70
        return Decoded(found.ids, last if wide and len(last) else found.anchors, found.labels, found.scores)

    scores = scattered((150, 70, 1), 30, 5)
    found = decoded(scores, Small, decode=wandering)
    sizes = np.bincount(found.array.ravel())[1:]
    assert len(sizes) == len(found.objects)
    assert (sizes > 0).all()


def test_ids_follow_the_order_of_the_anchors() -> None:
    scores = np.full((2, 9, 9, 1), -1, np.float32)
    for i, j in ((1, 7), (4, 1), (4, 5), (8, 0)):
        scores[0, i, j] = 1
    array = decoded(scores).array[0, :, :, 0]
    assert [array[1, 7], array[4, 1], array[4, 5], array[8, 0]] == [1, 2, 3, 4]
    assert array.dtype == np.uint32


def test_nothing_gives_nothing() -> None:
    found = decoded(np.full((2, 9, 8, 7), -1, np.float32))
    assert found.objects == ()
    assert not found.array.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_come_along_any_axis(axis: int) -> None:
    scores = scattered((40, 44, 38), 40, 1)
    grid = Grid((40, 44, 38), np.eye(4))
    sink = ObjectSink(TABLE, grid=grid, axis=axis, channels=2, decode=parts)
    for start in range(0, grid.shape[axis], 7):
        stop = min(start + 7, grid.shape[axis])
        low, high = [0, 0, 0], list(grid.shape)
        low[axis], high[axis] = start, stop
        part = np.take(scores, range(start, stop), axis=1 + axis)
        sink.take(Scores(part, grid.cropped(low, high), "logits"), start)
    found = sink.finish()
    assert np.array_equal(found.array, decoded(scores).array)


def test_a_small_image_takes_no_more_than_all_of_it_at_once() -> None:
    assert object_bytes(Grid((64, 64, 1), np.eye(4)), 3) < 1_000_000


def test_memory_grows_with_what_is_on_the_grid_alone_once_blocks_are_full() -> None:
    small, large = (object_bytes(Grid((2048, 2048, n), np.eye(4)), 3) for n in (400, 800))
    assert large - small == pytest.approx(5 * 2048 * 2048 * 400, rel=0.01)


@pytest.mark.parametrize("margin", [16, 64, 256, 1024])
@pytest.mark.parametrize("channels", [3, 41, 400])
def test_no_block_takes_more_than_2_gb(margin: int, channels: int) -> None:
    grid = Grid((512, 512, 512), np.eye(4))
    assert object_bytes(grid, channels, margin=margin) - 5 * 512**3 <= 2_000_000_000
