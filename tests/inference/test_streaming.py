"""Slabs against scores that are held whole; networks are plain functions of NumPy arrays."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg import GeometryError, Grid, ModelError, PluginError, Scores, Sink, Volume
from medseg.inference.streaming import Forward, stream
from medseg.inference.windows import Blend, Windows

Floats = NDArray[np.float32]


class Kept(Sink):
    """Puts the slabs together again, and sees that each follows the one before with its halo."""

    def __init__(self, grid: Grid, axis: int, halo: int = 0) -> None:
        self.grid, self.axis, self.halo = grid, axis, halo
        self.parts: list[Floats] = []
        self.reached = 0
        self.deepest = 0

    def take(self, slab: Scores, start: int) -> None:
        depth = slab.grid.shape[self.axis]
        assert start == max(0, self.reached - self.halo)
        index = [0, 0, 0]
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
        return np.moveaxis(np.concatenate(self.parts, axis=1), 1, 1 + self.axis)


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
    assert long < 1.1 * short
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
