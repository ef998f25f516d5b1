"""What lies between a network and the sinks: windows are cut out for the one, slabs handed to the others.

It is the work of the thread beside the network; `streaming` says what is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.inference.slab import Slab
from medseg.inference.windows import Place, Region, Windows
from medseg.prediction import Sink
from medseg.volume import Volume

__all__ = ["Feed", "Step"]


@dataclass(frozen=True)
class Step:
    """Windows that are computed at once; before them a block may begin, after them slices may be finished."""

    places: tuple[Place, ...] = ()
    begins: Region | None = None
    ends: int | None = None  # slices before this one are finished
    unused: bool = False  # of the logits, only the number of channels is looked at


class Feed:
    """The image, the slab of the present block, and the sinks; `gpu.GpuFeed` has them on a GPU."""

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
