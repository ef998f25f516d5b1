"""A sliding window whose scores are never held whole.

Windows are visited in order along one axis. A slab as deep as a patch holds the weighted mean of the scores
so far; slices that no later window reaches are handed to the sinks, and the slab moves on. Peak memory is
channels times slab, however long that axis is.

The mean is updated window by window, mean += w / W * (score - mean) with W the sum of weights so far (West,
Communications of the ACM 22, 1979, 532-535), instead of divided at the end: a network that gives one value
everywhere then gives exactly that value back, and float32 is enough however many windows overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, ModelError, PluginError
from medseg.inference.windows import Windows
from medseg.prediction import Progress, Scores, Sink, silent
from medseg.volume import Grid, Volume

__all__ = ["Forward", "stream"]

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Takes windows `[N, C, *patch]` of an image and gives their logits `[N, K, *patch]`."""

Place = tuple[int, int, int]


def stream(
    volume: Volume,
    windows: Windows,
    forward: Forward,
    sinks: Sequence[Sink],
    *,
    batch: int = 1,
    progress: Progress = silent,
) -> tuple[Any, ...]:
    """Slide a network over a volume, feed every sink, and give what the sinks made of it.

    Slabs of logits come along `windows.axis`, first slice first. A slab's array is used again for the next
    one: a sink that needs it later copies it. Around a volume smaller than the patch the network sees the
    smallest value of each channel. Raises ModelError where scores are not finite.
    """
    if windows.shape != volume.grid.shape:
        raise GeometryError(f"windows for {windows.shape} voxels do not lie on {volume.grid!r}")
    axis, weight = windows.axis, windows.importance()
    slab: _Slab | None = None
    starts = windows.starts(axis)
    done, total = 0, len(windows)
    for start, after in zip(starts, (*starts[1:], volume.grid.shape[axis]), strict=True):
        for places in _batches(windows, axis, start, batch):
            logits = _checked(forward(_cut(volume.array, places, windows.patch)), len(places), windows.patch)
            if slab is None:
                slab = _Slab(
                    volume.grid, windows, logits.shape[1], max((sink.halo for sink in sinks), default=0)
                )
            for place, scores in zip(places, logits, strict=True):
                slab.add(scores, place, weight)
            done += len(places)
            progress("segment", done, total)
        assert slab is not None  # every start has a window
        for sink in sinks:
            slab.hand(sink, after)
        slab.advance(after)
    return tuple(sink.finish() for sink in sinks)


class _Slab:
    """The weighted mean of scores in the slices that are still open, and the halo before them."""

    def __init__(self, grid: Grid, windows: Windows, channels: int, halo: int) -> None:
        self.grid = grid
        self.axis = windows.axis
        self.halo = halo
        self.first = 0  # first open slice: those before it were handed out
        self.base = 0  # slice that lies at index 0 of the arrays
        shape = list(grid.shape)
        shape[self.axis] = min(shape[self.axis], windows.patch[self.axis] + halo)
        self.mean = np.zeros((channels, *shape), np.float32)
        self.weight = np.zeros(shape, np.float32)

    def add(self, scores: NDArray[np.float32], place: Place, weight: NDArray[np.float32]) -> None:
        """Take the scores `[K, *patch]` of a window that starts at `place` into the mean."""
        low = [max(0, -start) for start in place]
        high = [
            min(size, extent - start)
            for size, extent, start in zip(weight.shape, self.grid.shape, place, strict=True)
        ]
        inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        moved = [start - self.base * (axis == self.axis) for axis, start in enumerate(place)]
        here = tuple(slice(start + a, start + b) for start, a, b in zip(moved, low, high, strict=True))
        self.weight[here] += weight[inside]
        share = weight[inside] / self.weight[here]
        for mean, score in zip(self.mean, scores, strict=True):  # by channel: what is at work stays small
            change = score[inside] - mean[here]
            change *= share
            mean[here] += change

    def hand(self, sink: Sink, stop: int) -> None:
        """Give a sink the slices up to `stop`, with its halo before them."""
        start = max(0, self.first - sink.halo)
        part = [slice(None)] * 3
        part[self.axis] = slice(start - self.base, stop - self.base)
        low, high = [0, 0, 0], list(self.grid.shape)
        low[self.axis], high[self.axis] = start, stop
        sink.take(Scores(self.mean[:, *part], self.grid.cropped(low, high), "logits"), start)

    def advance(self, stop: int) -> None:
        """Close the slices before `stop`, keep the halo, and make room for as many."""
        base = max(0, stop - self.halo)
        for values in (self.weight, *self.mean):  # one channel at a time: moving within an array copies it
            along = np.moveaxis(values, self.axis, 0)
            kept = max(0, len(along) - (base - self.base))
            along[:kept] = along[len(along) - kept :].copy()
            along[kept:] = 0
        self.first, self.base = stop, base


def _batches(windows: Windows, axis: int, start: int, size: int) -> Iterator[list[Place]]:
    """Places of the windows that start at one slice of the streaming axis, some at a time."""
    i, j, k = ((start,) if a == axis else windows.starts(a) for a in range(3))
    places = list(product(i, j, k))
    for n in range(0, len(places), size):
        yield places[n : n + size]


def _cut(image: NDArray[Any], places: Sequence[Place], patch: Place) -> NDArray[np.float32]:
    """Windows `[N, C, *patch]` of `image[C, i, j, k]`; beyond its faces, each channel's smallest value."""
    cut = np.empty((len(places), image.shape[0], *patch), np.float32)
    if any(size < side for size, side in zip(image.shape[1:], patch, strict=True)):
        cut[:] = image.min(axis=(1, 2, 3))[:, None, None, None]
    for window, place in zip(cut, places, strict=True):
        low = [max(0, start) for start in place]
        high = [
            min(size, start + side) for size, start, side in zip(image.shape[1:], place, patch, strict=True)
        ]
        here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, place, strict=True))
        window[:, *there] = image[:, *here]
    return cut


def _checked(logits: NDArray[np.float32], count: int, patch: Place) -> NDArray[np.float32]:
    """Logits that can be used; raises ModelError or PluginError."""
    if logits.ndim != 5 or logits.shape[0] != count or logits.shape[2:] != patch:
        raise PluginError(
            f"the network gave {list(logits.shape)} for {count} windows of {list(patch)} voxels"
        )
    if not np.isfinite(logits).all():
        raise ModelError(
            "the network gave scores that are not finite numbers; "
            "its weights are damaged, or the image is not prepared as it was in training"
        )
    return logits
