"""A sliding window whose scores are never held whole.

Windows are visited in order along one axis. A slab as deep as a patch holds the weighted mean of the scores
so far; slices that no later window reaches are handed to the sinks, and the slab moves on. Peak memory is
channels times slab, however long that axis is.

The mean is updated window by window, mean += w / W * (score - mean) with W the sum of weights so far (West,
Communications of the ACM 22, 1979, 532-535), instead of divided at the end: a network that gives one value
everywhere then gives exactly that value back, and float32 is enough however many windows overlap.

Two threads take turns: the caller's runs the network, the other cuts windows out, takes logits into the slab
and feeds the sinks. What the other does, and in which order, does not depend on which is faster.

On a GPU the image and the slab lie in its memory, and labels are decided there (`gpu`): logits stay where
they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, PluginError
from medseg.inference.slab import Slab
from medseg.inference.threads import background
from medseg.inference.windows import Place, Region, Windows
from medseg.prediction import Progress, Sink, silent
from medseg.volume import Volume

__all__ = ["Forward", "Step", "Streaming", "stream"]

Forward = Callable[[Any], Any]
"""Takes windows `[N, C, *patch]` of an image and gives their logits `[N, K, *patch]`.

Arrays of NumPy in float32; where the slab lies on a GPU, tensors there, logits in any floating type.
"""


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
    gpu: str | None = None,
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

    With `gpu`, the device "cuda:0" say, image, slab and labels lie in that GPU's memory; sinks that decide no
    labels get slabs in the processor's. Of the same window logits, labels are the same to the last voxel.
    """
    if windows.shape != volume.grid.shape:
        raise GeometryError(f"windows for {windows.shape} voxels do not lie on {volume.grid!r}")
    halo = max((sink.halo for sink in sinks), default=0)
    steps = list(_steps(windows, batch, halo, windows.regions(blocks), _kept(windows, content)))
    done, total = 0, sum(len(step.places) for step in steps)
    state = _streaming(gpu)(volume, windows, sinks, halo, empty)
    with background(threads) as worker:
        earlier: Future[None] | None = None
        cut = worker.submit(state.cut, steps[0].places)
        for step, following in zip(steps, (*steps[1:], Step()), strict=True):
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
        return worker.submit(state.finish).result()


@dataclass(frozen=True)
class Step:
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
) -> Iterator[Step]:
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
                yield Step(lot, begins, ends[start] if number == len(lots) else None, unused)
                begins = None


def _streaming(gpu: str | None) -> Callable[..., Streaming]:
    """What makes the state of a run, on a GPU or not."""
    if gpu is None:
        return Streaming
    from medseg.inference.gpu import GpuStreaming

    return partial(GpuStreaming, gpu)


class Streaming:
    """What the thread beside the network works on: the image, the slab of the present block, the sinks."""

    def __init__(
        self,
        volume: Volume,
        windows: Windows,
        sinks: Sequence[Sink],
        halo: int,
        empty: Sequence[float] | None,
    ) -> None:
        self.grid = volume.grid
        self.windows = windows
        self.halo = halo
        self.image: Any = volume.array
        self.weight: Any = windows.importance()
        self.sinks = tuple(sinks)
        self._empty = empty
        self._channels = 0
        self._slab: Slab | None = None
        outside = any(n < side for n, side in zip(windows.shape, windows.patch, strict=True))
        self._margin = volume.array.min(axis=(1, 2, 3)).tolist() if outside else None

    def cut(self, places: Sequence[Place]) -> Any:
        """The windows `[N, C, *patch]` that start there; beyond the image's faces, the margin's values."""
        cut = self.windows_array((len(places), self.image.shape[0], *self.windows.patch))
        for window, place in zip(cut, places, strict=True):
            for channel, value in enumerate(self._margin or ()):
                window[channel] = value
            here, there = _overlap(self.image.shape[1:], place, self.windows.patch)
            window[:, *there] = self.image[:, *here]
        return cut

    def windows_array(self, shape: tuple[int, ...]) -> Any:
        """A new array for windows."""
        return np.empty(shape, np.float32)

    def new_slab(self, region: Region, channels: int) -> Slab:
        """The slab of a block."""
        return Slab(self.grid, self.windows, region, channels, self.halo)

    def take(self, step: Step, logits: Any) -> None:
        """Take the logits of a step's windows in, and hand on what they finish."""
        if logits is not None:
            self._channels = logits.shape[1]
        if step.begins is not None:
            self._slab = None  # before the next one is made: two at once might not fit
            self._slab = self.new_slab(step.begins, self._channels)
            for sink in self.sinks:
                sink.begin(step.begins)
        slab = self._slab
        assert slab is not None  # the first step of a block begins it
        if logits is not None and not step.unused:
            for place, scores in zip(step.places, logits, strict=True):
                slab.add(scores, place, self.weight)
        if step.ends is not None:
            if self._empty is not None:
                slab.fill(step.ends, self._empty)
            for sink in self.sinks:
                slab.hand(sink, step.ends)
            slab.advance(step.ends)

    def finish(self) -> tuple[Any, ...]:
        """What the sinks made of it."""
        self._slab = None
        return tuple(sink.finish() for sink in self.sinks)


def _overlap(shape: Sequence[int], place: Place, patch: Place) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a window lies in the image, and that part of it in the window."""
    low = [max(0, start) for start in place]
    high = [min(size, start + side) for size, start, side in zip(shape, place, patch, strict=True)]
    here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, place, strict=True))
    return here, there


def _shaped(logits: Any, count: int, patch: Place) -> Any:
    """Logits of the right shape; raises PluginError."""
    if logits.ndim != 5 or logits.shape[0] != count or tuple(logits.shape[2:]) != patch:
        raise PluginError(
            f"the network gave {list(logits.shape)} for {count} windows of {list(patch)} voxels"
        )
    return logits
