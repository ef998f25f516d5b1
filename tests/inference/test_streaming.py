"""Slabs against scores that are held whole; networks are plain functions of NumPy arrays."""

from __future__ import annotations

import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import grids

from medseg import GeometryError, Grid, Label, LabelTable, ModelError, PluginError, Scores, Sink, Volume
from medseg.inference.sinks import ArgmaxSink, ThresholdSink
from medseg.inference.streaming import Forward, stream
from medseg.inference.windows import Blend, Region, Windows

Floats = NDArray[np.float32]


class Kept(Sink):
    """Puts the slabs of a block together again, and sees that each follows the one before with its halo."""

    def __init__(self, grid: Grid, axis: int, halo: int = 0) -> None:
        self.grid, self.axis, self.halo = grid, axis, halo
        self.blocks: list[tuple[Region, list[Floats]]] = []
        self.deepest = 0

    def begin(self, region: Region) -> None:
        self.parts: list[Floats] = []
        self.blocks.append((region, self.parts))
        self.reached = 0

    def take(self, slab: Scores, start: int) -> None:
        depth = slab.grid.shape[self.axis]
        assert start == max(0, self.reached - self.halo)
        index = [max(0, part.start - self.halo) for part in self.blocks[-1][0]]
        index[self.axis] = start
        assert np.allclose(slab.grid.affine[:3, 3], self.grid.to_world(index))
        along = np.moveaxis(slab.array, 1 + self.axis, 1)
        if self.parts and self.halo:
            before = np.concatenate(self.parts, axis=1)[:, -self.halo :]
            assert np.array_equal(along[:, : before.shape[1]], before)
        self.parts.append(along[:, self.reached - start :].copy())
        self.reached = start + depth
        self.deepest = max(self.deepest, depth)

    def finish(self) -> Floats:
        whole = np.full((len(self.parts[0]), *self.grid.shape), np.nan, np.float32)
        for region, parts in self.blocks:
            block = np.moveaxis(np.concatenate(parts, axis=1), 1, 1 + self.axis)
            low = [max(0, part.start - self.halo) for part in region]
            low[self.axis] = 0
            assert block.shape[1:] == tuple(part.stop - a for part, a in zip(region, low, strict=True))
            own = tuple(slice(part.start - a, part.stop - a) for part, a in zip(region, low, strict=True))
            assert np.isnan(whole[:, *region]).all()
            whole[:, *region] = block[:, *own]
        return whole


def whole(volume: Volume, windows: Windows, forward: Forward) -> NDArray[np.float64]:
    """The mean of all windows' scores, held whole, in double precision."""
    weight = windows.importance().astype(float)
    margins = [
        (max(0, -windows.starts(a)[0]), max(0, windows.starts(a)[-1] + windows.patch[a] - n))
        for a, n in enumerate(volume.grid.shape)
    ]
    image = np.stack([np.pad(one, margins, constant_values=one.min()) for one in volume.array])
    total: Any = 0.0
    for i in windows.starts(0):
        for j in windows.starts(1):
            for k in windows.starts(2):
                starts = [s + m[0] for s, m in zip((i, j, k), margins, strict=True)]
                part = tuple(slice(s, s + p) for s, p in zip(starts, windows.patch, strict=True))
                scores = forward(image[:, *part][None].astype(np.float32))[0]
                if np.isscalar(total):
                    total = np.zeros((len(scores) + 1, *image.shape[1:]))
                total[:-1, *part] += weight * scores
                total[-1, *part] += weight
    inside = tuple(slice(m[0], m[0] + n) for m, n in zip(margins, volume.grid.shape, strict=True))
    mean: NDArray[np.float64] = (total[:-1] / total[-1])[:, *inside]
    return mean


def mixing(windows: Floats) -> Floats:
    """Two channels that depend on the place in the window, as those of real networks do near borders."""
    ramp = np.linspace(-1, 1, windows[0, 0].size, dtype=np.float32).reshape(windows.shape[2:])
    return np.stack([windows[:, 0] + ramp, windows.sum(1) * ramp], axis=1)


def image(shape: tuple[int, int, int], channels: int = 1, seed: int = 0) -> Volume:
    array = np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)
    return Volume(array, Grid(shape, np.diag([1.0, 2.0, 3.0, 1.0])), tuple(f"c{n}" for n in range(channels)))


PAIR = LabelTable((Label(1, "a"), Label(300, "b")))
APART = LabelTable((Label(1, "a"), Label(2, "b", layer=1), Label(3, "c", layer=1)))


class Counting:
    """Three channels of a network whose scores depend on the place, and how many windows it was given."""

    def __init__(self) -> None:
        self.windows = 0

    def __call__(self, windows: Floats) -> Floats:
        self.windows += len(windows)
        return np.concatenate([mixing(windows), mixing(-windows)[:, :1]], axis=1)


shapes = st.tuples(*[st.integers(1, 17)] * 3)


@given(
    shape=shapes,
    patch=st.tuples(*[st.integers(1, 9)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    blend=st.sampled_from(["gaussian", "constant"]),
    batch=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_slabs_are_the_mean_over_all_windows(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, blend: Blend, batch: int
) -> None:
    volume, windows = image(shape, 2), Windows(shape, patch, overlap, blend)
    sinks = [Kept(volume.grid, windows.axis, halo) for halo in (0, 1, 2)]
    found = stream(volume, windows, mixing, sinks, batch=batch)
    expected = whole(volume, windows, mixing)
    assert np.abs(found[0] - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    for other in found[1:]:
        assert np.array_equal(found[0], other)


@given(
    shape=shapes,
    patch=st.tuples(*[st.integers(1, 9)] * 3),
    overlap=st.sampled_from([0.0, 0.5, 0.8]),
    onto=grids(largest=11),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_blocks_change_no_bit(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, onto: Grid, data: st.DataObject
) -> None:
    volume, windows = image(shape, 3), Windows(shape, patch, overlap)
    affine = onto.affine.copy()
    affine[:3, 3] += volume.grid.centre - onto.centre
    onto = Grid(onto.shape, affine)

    def found(blocks: int, batch: int) -> tuple[Any, ...]:
        places: dict[str, Any] = {"grid": volume.grid, "axis": windows.axis, "onto": onto}
        sinks = [ArgmaxSink(PAIR, **places), ThresholdSink(APART, **places)]
        kept = [Kept(volume.grid, windows.axis, halo) for halo in (0, 1, 2)]
        forward = Counting()
        labels, layers, *scores = stream(
            volume, windows, forward, [*sinks, *kept], batch=batch, blocks=blocks, threads=2
        )
        assert forward.windows == windows.evaluations(blocks=blocks, halo=2)
        return labels.array, layers.array, *scores

    blocks = data.draw(st.integers(1, min(4, shape[windows.across])))
    for one, many in zip(found(1, 1), found(blocks, data.draw(st.integers(1, 3))), strict=True):
        assert np.array_equal(one, many)


@given(
    value=st.floats(-1e6, 1e6, width=32),
    shape=shapes,
    patch=st.tuples(*[st.integers(1, 9)] * 3),
    overlap=st.floats(0, 0.9),
    blend=st.sampled_from(["gaussian", "constant"]),
)
@settings(max_examples=60, deadline=None)
def test_a_constant_network_gives_exactly_constant_scores(
    value: float, shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, blend: Blend
) -> None:
    volume, windows = image(shape), Windows(shape, patch, overlap, blend)
    (found,) = stream(
        volume,
        windows,
        lambda images: np.full((len(images), 1, *images.shape[2:]), value, np.float32),
        [Kept(volume.grid, windows.axis)],
    )
    assert (found == np.float32(value)).all()


def neighbours(images: Floats) -> Floats:
    """How many of 27 voxels are bright, less 13.5: a convolution that sees 0 beyond the window."""
    padded = np.pad(images, [(0, 0), (0, 0), *[(1, 1)] * 3])
    _, _, *size = images.shape
    parts = (
        padded[:, :, i : i + size[0], j : j + size[1], k : k + size[2]]
        for i in range(3)
        for j in range(3)
        for k in range(3)
    )
    return np.asarray(sum(parts) - np.float32(13.5), np.float32)


@pytest.mark.parametrize("patch", [(9, 9, 9), (8, 16, 12), (24, 9, 9), (40, 40, 40), (30, 21, 8)])
def test_labels_do_not_depend_on_the_patch_of_an_equivariant_network(patch: tuple[int, int, int]) -> None:
    shape = (30, 26, 21)
    bright = np.random.default_rng(1).random((1, *shape)) < 0.5
    volume = Volume(bright.astype(np.float32), Grid(shape, np.eye(4)))
    expected = neighbours(volume.array[None])[0] > 0

    def labels(blend: Blend) -> NDArray[np.bool_]:
        windows = Windows(shape, patch, 0.5, blend)
        (found,) = stream(volume, windows, neighbours, [Kept(volume.grid, windows.axis)])
        return np.asarray(found > 0)

    assert np.array_equal(labels("gaussian"), expected)
    if patch != (40, 40, 40):  # negative control: borders that count as much as the middle change labels
        assert not np.array_equal(labels("constant"), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_memory_does_not_grow_with_the_streaming_axis(axis: int) -> None:
    class Counted(Kept):
        def take(self, slab: Scores, start: int) -> None:
            self.deepest = max(self.deepest, slab.grid.shape[self.axis])

        def finish(self) -> Floats:
            return np.zeros(0, np.float32)

    def peak(depth: int) -> tuple[int, int]:
        shape = [32, 32, 32]
        shape[axis] = depth
        volume = image((shape[0], shape[1], shape[2]))
        windows = Windows(volume.grid.shape, (32, 32, 32))
        assert windows.axis == axis
        sink = Counted(volume.grid, axis, halo=1)
        tracemalloc.start()
        stream(volume, windows, lambda images: np.repeat(images, 8, axis=1), [sink])
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used, sink.deepest

    (short, deepest), (long, deepest_of_long) = peak(64), peak(256)
    assert deepest <= 33
    assert deepest_of_long <= 33
    window = 8 * 32**3 * 4  # bytes of its logits: in one run a batch may have to wait, in the other not
    assert long < short + 1.2 * window
    assert long < 256 * 32 * 32 * 8 * 4 / 2  # half of what the whole scores would take


def test_progress_counts_windows() -> None:
    volume, heard = image((9, 8, 4)), list[tuple[str, int, int]]()
    windows = Windows((9, 8, 4), (4, 4, 4))
    stream(
        volume,
        windows,
        mixing,
        [Kept(volume.grid, windows.axis)],
        batch=2,
        progress=lambda *s: heard.append(s),
    )
    assert [done for _, done, _ in heard] == sorted({done for _, done, _ in heard})
    assert heard[-1] == ("segment", len(windows), len(windows))


def test_what_a_network_must_not_give_is_refused() -> None:
    volume, windows = image((4, 4, 4)), Windows((4, 4, 4), (4, 4, 4))
    sink = Kept(volume.grid, 0)
    with pytest.raises(ModelError, match="not finite"):
        stream(volume, windows, lambda images: images * np.float32(np.inf), [sink])
    with pytest.raises(PluginError, match=r"\[1, 1, 4, 4, 2\] for 1 windows of \[4, 4, 4\]"):
        stream(volume, windows, lambda images: images[..., :2], [sink])
    with pytest.raises(GeometryError, match="do not lie on"):
        stream(volume, Windows((5, 4, 4), (4, 4, 4)), mixing, [sink])


def test_around_a_small_volume_each_channel_holds_its_own_minimum() -> None:
    """A margin of 0 around a CT in HU would be water."""
    grid = Grid((3, 4, 5), np.eye(4))
    image = np.stack([np.full(grid.shape, -1000.0), np.full(grid.shape, 5.0)]).astype(np.float32)
    image[:, 1, 1, 1] += 700
    seen: list[Floats] = []

    def forward(windows: Floats) -> Floats:
        seen.append(windows.copy())
        return windows

    windows = Windows(grid.shape, patch=(8, 8, 8), overlap=0.5, blend="constant")
    stream(Volume(image, grid, ("ct", "pet")), windows, forward, [Kept(grid, windows.axis)])
    (window,) = np.concatenate(seen)
    for channel, (least, size) in enumerate(((-1000.0, 512 - 1), (5.0, 512 - 1))):
        assert np.count_nonzero(window[channel] == least) == size
        assert window[channel].max() == least + 700


def test_a_slab_of_a_block_is_as_small_as_said() -> None:
    volume, windows = image((40, 21, 12)), Windows((40, 21, 12), (8, 8, 8))
    assert (windows.axis, windows.across) == (0, 1)

    class Measured(Kept):
        largest = 0

        def take(self, slab: Scores, start: int) -> None:
            held: Any = slab.array
            while held.base is not None:
                held = held.base
            self.largest = max(self.largest, held.size // 3)

        def finish(self) -> Floats:
            return np.full(1, self.largest)

    for blocks in (1, 2, 5, 21):
        (found,) = stream(volume, windows, Counting(), [Measured(volume.grid, 0, halo=1)], blocks=blocks)
        assert found[0] == np.prod(windows.slab(0, blocks=blocks, halo=1))


def test_windows_without_content_are_not_computed() -> None:
    shape = (40, 12, 10)
    volume, windows = image(shape), Windows(shape, (8, 8, 8))
    content = np.zeros(shape, bool)
    content[17:20, 4:6, 4:6] = True
    sinks = [Kept(volume.grid, 0) for _ in range(2)]
    everything, some, bare = Counting(), Counting(), Counting()
    (expected,) = stream(volume, windows, everything, sinks[:1])
    (found,) = stream(volume, windows, some, sinks[1:], content=content)
    assert some.windows < everything.windows / 2
    assert np.array_equal(found[:, content], expected[:, content])
    assert not found[:, 30:].any()

    empty = (5.0, -5.0, -6.0)
    several = [Kept(volume.grid, 0, halo) for halo in (0, 1)]
    marked = stream(volume, windows, bare, several, content=content, empty=empty, blocks=3)
    reached = (found != 0).any(axis=0)
    for one in marked:
        assert np.array_equal(one[:, reached], found[:, reached])
        assert (one[:, ~reached] == np.array(empty, np.float32)[:, None]).all()


def test_content_everywhere_changes_nothing_and_nowhere_gives_background() -> None:
    volume, windows = image((20, 9, 9)), Windows((20, 9, 9), (6, 6, 6))

    def labels(content: NDArray[np.bool_] | None) -> tuple[NDArray[Any], NDArray[Any], int]:
        places: dict[str, Any] = {"grid": volume.grid, "axis": windows.axis, "onto": volume.grid}
        forward = Counting()
        sinks = [ArgmaxSink(PAIR, **places), ThresholdSink(APART, **places)]
        one, several = stream(volume, windows, forward, sinks, content=content)
        return one.array, several.array, forward.windows

    everything, everywhere = labels(None), labels(np.ones(volume.grid.shape, bool))
    assert np.array_equal(everything[0], everywhere[0])
    assert np.array_equal(everything[1], everywhere[1])
    assert everything[2] == everywhere[2]
    one, several, count = labels(np.zeros(volume.grid.shape, bool))
    assert count == 1  # without any, nobody knew how many channels there are
    assert not one.any()  # what that window gave is not used
    assert not several.any()
    with pytest.raises(GeometryError, match="does not lie on"):
        labels(np.ones((20, 9, 8), bool))


class BrokenError(Exception):
    """What a test's own sink or network raises."""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("problem", [BrokenError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["network", "sink", "progress"])
def test_what_fails_is_raised_and_no_thread_is_left(
    where: str, problem: type[BaseException], threads: int
) -> None:
    volume, windows = image((30, 9, 9)), Windows((30, 9, 9), (6, 6, 6))
    before = threading.active_count()
    calls = 0

    def fail(place: str) -> None:
        nonlocal calls
        if place == where:
            calls += 1
            if calls == 3:
                raise problem

    def network(images: Floats) -> Floats:
        fail("network")
        return mixing(images)

    class Failing(Kept):
        def take(self, slab: Scores, start: int) -> None:
            fail("sink")
            super().take(slab, start)

    with pytest.raises(problem):
        stream(
            volume,
            windows,
            network,
            [Failing(volume.grid, 0)],
            threads=threads,
            progress=lambda *_: fail("progress"),
        )
    assert calls == 3
    assert threading.active_count() == before


@pytest.mark.parametrize("slow", ["network", "sinks"])
def test_who_is_slower_changes_neither_bits_nor_how_much_waits(slow: str) -> None:
    volume, windows = image((40, 9, 9)), Windows((40, 9, 9), (8, 8, 8))
    alive, most = 0, 0

    class Sent(np.ndarray):  # logits that tell when they are gone
        def __del__(self) -> None:
            nonlocal alive
            alive -= self.base is None

    def network(images: Floats) -> Floats:
        nonlocal alive, most
        logits = mixing(images)
        sent = Sent(logits.shape, logits.dtype)
        sent[...] = logits
        alive += 1
        most = max(most, alive)
        time.sleep(0.002 * (slow == "network"))
        return sent

    class Slow(Kept):
        def take(self, slab: Scores, start: int) -> None:
            time.sleep(0.02 * (slow == "sinks"))
            super().take(slab, start)

    (expected,) = stream(volume, windows, mixing, [Kept(volume.grid, 0)])
    (found,) = stream(volume, windows, network, [Slow(volume.grid, 0)])
    assert np.array_equal(found, expected)
    assert most == 2
    assert alive == 0
