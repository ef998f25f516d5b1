"""A sliding window whose scores are never held whole.

Windows are visited in order along one axis. A slab as deep as a patch holds the weighted mean of the scores
so far; slices that no later window reaches are handed to the sinks, and the slab moves on. Peak memory is
channels times slab, however long that axis is.

The mean is updated window by window, mean += w / W * (score - mean) with W the sum of weights so far (West,
Communications of the ACM 22, 1979, 532-535), instead of divided at the end: a network that gives one value
everywhere then gives exactly that value back, and float32 is enough however many windows overlap.

Two threads take turns: the caller's runs the network, the other cuts windows out, takes logits into the slab
and feeds the sinks. What the other does, and in which order, does not depend on which is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, ModelError, PluginError
from medseg.inference.threads import background, spread
from medseg.inference.windows import Place, Region, Windows
from medseg.prediction import Progress, Scores, Sink, silent
from medseg.volume import Grid, Volume

__all__ = ["Forward", "stream"]

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Takes windows `[N, C, *patch]` of an image and gives their logits `[N, K, *patch]`."""


def stream(  # noqa: PLR0913 - the one place where all that a sliding window can be told comes together
    volume: Volume,
    windows: Windows,
    forward: Forward,
    sinks: Sequence[Sink],
    *,
    batch: int = 1,
    blocks: int = 1,
    content: NDArray[np.bool_] | None = None,
    empty: Sequence[float] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> tuple[Any, ...]:
    """Slide a network over a volume, feed every sink, and give what the sinks made of it.

    Slabs of logits come along `windows.axis`, first slice first. A slab's array is used again for the next
    one: a sink that needs it later copies it. Around a volume smaller than the patch the network sees the
    smallest value of each channel. `forward` and `progress` are called by the caller's thread, sinks by
    another, one at a time, while the network computes its next windows; `threads` share that work, None for
    one per processor. Raises ModelError where scores are not finite.

    `blocks` cuts the plane into pieces that are done one after the other, each in a slab of its own size.
    Windows at the seams are computed twice; of the same window logits, each voxel's score is the same to the
    last bit.

    `content[i, j, k]` says which voxels may hold anything: windows that touch none of them are not computed,
    but for one where otherwise nobody knew how many channels there are, whose logits are not used. Voxels
    that then have no window get the logits `empty`, one per channel, all 0 if None: background for an
    arg-max, and no label for a threshold. Labels near such voxels can differ from those of all windows.
    """
    if windows.shape != volume.grid.shape:
        raise GeometryError(f"windows for {windows.shape} voxels do not lie on {volume.grid!r}")
    halo = max((sink.halo for sink in sinks), default=0)
    steps = list(_steps(windows, batch, halo, windows.regions(blocks), _kept(windows, content)))
    done, total = 0, sum(len(step.places) for step in steps)
    state = _Streaming(volume, windows, sinks, halo, empty)
    with background(threads) as worker:
        earlier: Future[None] | None = None
        cut = worker.submit(state.cut, steps[0].places)
        for step, following in zip(steps, (*steps[1:], _Step()), strict=True):
            images = cut.result()
            cut = worker.submit(state.cut, following.places)
            logits = _shaped(forward(images), len(images), windows.patch) if step.places else None
            if earlier is not None:
                earlier.result()  # no more than one batch of logits waits while the network is at work
            earlier = worker.submit(state.take, step, logits)
            del images, logits
            if step.places:
                done += len(step.places)
                progress("segment", done, total)
        assert earlier is not None  # there is a window
        earlier.result()
    return tuple(sink.finish() for sink in sinks)


@dataclass(frozen=True)
class _Step:
    """Windows that are computed at once; before them a block may begin, after them slices may be finished."""

    places: tuple[Place, ...] = ()
    begins: Region | None = None
    ends: int | None = None  # slices before this one are finished
    unused: bool = False  # of the logits, only the number of channels is looked at


def _kept(windows: Windows, content: NDArray[np.bool_] | None) -> Callable[[Place], bool]:
    """Which windows are computed."""
    if content is None:
        return lambda place: True
    if content.shape != windows.shape:
        raise GeometryError(f"content of {content.shape} voxels does not lie on windows for {windows.shape}")

    def touches(place: Place) -> bool:
        sides = zip(place, windows.patch, strict=True)
        inside = tuple(slice(max(0, start), start + side) for start, side in sides)
        return bool(content[inside].any())

    return touches


def _steps(
    windows: Windows, batch: int, halo: int, regions: Sequence[Region], kept: Callable[[Place], bool]
) -> Iterator[_Step]:
    """What is done, in order; each block has one step that begins it, each start one that ends slices.

    The first step of all has a window in any case, as it tells how many channels there are.
    """
    axis = windows.axis
    starts = windows.starts(axis)
    ends = dict(zip(starts, (*starts[1:], windows.shape[axis]), strict=True))
    told = False
    for region in regions:
        begins: Region | None = region
        for start, places in groupby(windows.places(region, halo=halo), key=lambda place: place[axis]):
            line = tuple(places)
            due = tuple(filter(kept, line))
            unused = not (due or told)
            due, told = line[:1] if unused else due, True
            lots = [due[n : n + batch] for n in range(0, len(due), batch)] or [()]
            for number, lot in enumerate(lots, 1):
                yield _Step(lot, begins, ends[start] if number == len(lots) else None, unused)
                begins = None


class _Streaming:
    """What the thread beside the network works on: the image, the slab of the present block, the sinks."""

    def __init__(
        self,
        volume: Volume,
        windows: Windows,
        sinks: Sequence[Sink],
        halo: int,
        empty: Sequence[float] | None,
    ) -> None:
        self._image = volume.array
        self._grid = volume.grid
        self._windows = windows
        self._weight = windows.importance()
        self._sinks = sinks
        self._halo = halo
        self._empty = empty
        self._channels = 0
        self._slab: _Slab | None = None
        outside = any(n < side for n, side in zip(windows.shape, windows.patch, strict=True))
        self._margin = volume.array.min(axis=(1, 2, 3)) if outside else None

    def cut(self, places: Sequence[Place]) -> NDArray[np.float32]:
        """The windows of the image that start there."""
        return _cut(self._image, places, self._windows.patch, self._margin)

    def take(self, step: _Step, logits: NDArray[np.float32] | None) -> None:
        """Take the logits of a step's windows in, and hand on what they finish."""
        if logits is not None:
            self._channels = logits.shape[1]
        if step.begins is not None:
            self._slab = None  # before the next one is made: two at once might not fit
            self._slab = _Slab(self._grid, self._windows, step.begins, self._channels, self._halo)
            for sink in self._sinks:
                sink.begin(step.begins)
        slab = self._slab
        assert slab is not None  # the first step of a block begins it
        if logits is not None and not step.unused:
            for place, scores in zip(step.places, logits, strict=True):
                slab.add(scores, place, self._weight)
        if step.ends is not None:
            if self._empty is not None:
                slab.fill(step.ends, self._empty)
            for sink in self._sinks:
                slab.hand(sink, step.ends)
            slab.advance(step.ends)


class _Slab:
    """The weighted mean of scores in the slices of a block that are still open, and the halo before them."""

    def __init__(self, grid: Grid, windows: Windows, region: Region, channels: int, halo: int) -> None:
        self.grid = grid
        self.axis = windows.axis
        self.region = region
        self.halo = halo
        self.first = 0  # first open slice: those before it were handed out
        self.corner = [max(0, part.start - halo) for part in region]  # voxel at index 0 of the arrays
        shape = [part.stop - low for part, low in zip(region, self.corner, strict=True)]
        shape[self.axis] = min(shape[self.axis], windows.patch[self.axis] + halo)
        self.mean = np.zeros((channels, *shape), np.float32)
        self.weight = np.zeros(shape, np.float32)

    def add(self, scores: NDArray[np.float32], place: Place, weight: NDArray[np.float32]) -> None:
        """Take the scores `[K, *patch]` of a window that starts at `place` into the mean."""
        inside, here = [], []
        for start, side, low, part in zip(place, weight.shape, self.corner, self.region, strict=True):
            first, stop = max(start, low), min(start + side, part.stop)
            inside.append(slice(first - start, stop - start))
            here.append(slice(first - low, stop - low))
        known, total = weight[*inside], self.weight[*here]
        total += known
        share = known / total

        def update(channel: int) -> None:  # by channel: what is at work stays small
            score = scores[channel]
            if not np.isfinite(score).all():
                raise ModelError(
                    "the network gave scores that are not finite numbers; "
                    "its weights are damaged, or the image is not prepared as it was in training"
                )
            mean = self.mean[channel][*here]
            change = score[*inside] - mean
            change *= share
            mean += change

        spread(update, range(len(self.mean)))

    def fill(self, stop: int, empty: Sequence[float]) -> None:
        """Give the voxels up to slice `stop` that no window reached the logits `empty`."""
        part: list[slice] = [slice(None)] * 3
        part[self.axis] = slice(self.first - self.corner[self.axis], stop - self.corner[self.axis])
        bare = self.weight[*part] == 0
        for mean, value in zip(self.mean, empty, strict=True):
            mean[*part][bare] = value

    def hand(self, sink: Sink, stop: int) -> None:
        """Give a sink the slices up to `stop`, with its halo before them."""
        low = [max(0, part.start - sink.halo) for part in self.region]
        high = [part.stop for part in self.region]
        low[self.axis], high[self.axis] = max(0, self.first - sink.halo), stop
        part = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, self.corner, strict=True))
        slab = Scores(self.mean[:, *part], self.grid.cropped(low, high), "logits")
        sink.take(slab, low[self.axis])

    def advance(self, stop: int) -> None:
        """Close the slices before `stop`, keep the halo, and make room for as many."""
        base = max(0, stop - self.halo)
        moved = base - self.corner[self.axis]
        for values in (self.weight, *self.mean):  # one channel at a time: moving within an array copies it
            along = np.moveaxis(values, self.axis, 0)
            kept = max(0, len(along) - moved)
            along[:kept] = along[len(along) - kept :].copy()
            along[kept:] = 0
        self.first, self.corner[self.axis] = stop, base


def _cut(
    image: NDArray[Any], places: Sequence[Place], patch: Place, margin: NDArray[Any] | None
) -> NDArray[np.float32]:
    """Windows `[N, C, *patch]` of `image[C, i, j, k]`; beyond its faces, each channel's value of `margin`."""
    cut = np.empty((len(places), image.shape[0], *patch), np.float32)
    if margin is not None:
        cut[:] = margin[:, None, None, None]
    for window, place in zip(cut, places, strict=True):
        low = [max(0, start) for start in place]
        high = [
            min(size, start + side) for size, start, side in zip(image.shape[1:], place, patch, strict=True)
        ]
        here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, place, strict=True))
        window[:, *there] = image[:, *here]
    return cut


def _shaped(logits: NDArray[np.float32], count: int, patch: Place) -> NDArray[np.float32]:
    """Logits of the right shape; raises PluginError."""
    if logits.ndim != 5 or logits.shape[0] != count or logits.shape[2:] != patch:
        raise PluginError(
            f"the network gave {list(logits.shape)} for {count} windows of {list(patch)} voxels"
        )
    return logits
