"""The scores that later windows can still change: a weighted mean, slice by slice handed on and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ModelError
from medseg.inference.threads import spread
from medseg.inference.windows import Place, Region, Windows
from medseg.prediction import Scores, Sink
from medseg.volume import Grid

__all__ = ["Slab", "not_finite"]


class Slab:
    """The weighted mean of scores in the slices of a block that are still open, and the halo before them.

    Here its arrays are NumPy's; `gpu.GpuSlab` keeps the same in the memory of a GPU.
    """

    def __init__(self, grid: Grid, windows: Windows, region: Region, channels: int, halo: int) -> None:
        self.grid = grid
        self.axis = windows.axis
        self.region = region
        self.halo = halo
        self.first = 0  # first open slice: those before it were handed out
        self.corner = [max(0, part.start - halo) for part in region]  # voxel at index 0 of the arrays
        shape = [part.stop - low for part, low in zip(region, self.corner, strict=True)]
        shape[self.axis] = min(shape[self.axis], windows.patch[self.axis] + halo)
        self.mean = self.zeros((channels, *shape))
        self.weight = self.zeros(tuple(shape))

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """A new array of zeros."""
        return np.zeros(shape, np.float32)

    def copied(self, values: Any) -> Any:
        """A copy of an array."""
        return values.copy()

    def add(self, scores: Any, place: Place, weight: Any) -> None:
        """Take the scores `[K, *patch]` of a window that starts at `place` into the mean."""
        inside, here = [], []
        for start, side, low, part in zip(place, weight.shape, self.corner, self.region, strict=True):
            first, stop = max(start, low), min(start + side, part.stop)
            inside.append(slice(first - start, stop - start))
            here.append(slice(first - low, stop - low))
        known, total = weight[*inside], self.weight[*here]
        total += known
        self.update(tuple(here), scores[:, *inside], known / total)

    def update(self, here: Region | tuple[slice, ...], scores: Any, share: Any) -> None:
        """Move the mean at `here` towards `scores` by `share`; raises ModelError where they are not finite."""

        def one(channel: int) -> None:  # by channel: what is at work stays small
            score = scores[channel]
            if not np.isfinite(score).all():
                raise not_finite()
            mean = self.mean[channel][*here]
            change = score - mean
            change *= share
            mean += change

        spread(one, range(len(self.mean)))

    def fill(self, stop: int, empty: Sequence[float]) -> None:
        """Give the voxels up to slice `stop` that no window reached the logits `empty`."""
        part: list[slice] = [slice(None)] * 3
        part[self.axis] = slice(self.first - self.corner[self.axis], stop - self.corner[self.axis])
        bare = self.weight[*part] == 0
        for mean, value in zip(self.mean, empty, strict=True):
            mean[*part][bare] = value

    def hand(self, sink: Sink, stop: int) -> None:
        """Give a sink the slices up to `stop`, with its halo before them."""
        part, grid, start = self.part(sink.halo, stop)
        sink.take(Scores(part, grid, "logits"), start)

    def part(self, halo: int, stop: int) -> tuple[Any, Grid, int]:
        """The open slices up to `stop` with a halo before them, their grid, and the first one's number."""
        low = [max(0, part.start - halo) for part in self.region]
        high = [part.stop for part in self.region]
        low[self.axis], high[self.axis] = max(0, self.first - halo), stop
        part = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, self.corner, strict=True))
        return self.mean[:, *part], self.grid.cropped(low, high), low[self.axis]

    def advance(self, stop: int) -> None:
        """Close the slices before `stop`, keep the halo, and make room for as many."""
        base = max(0, stop - self.halo)
        moved = base - self.corner[self.axis]
        for values in (self.weight, *self.mean):  # one channel at a time: moving within an array copies it
            along = values.swapaxes(self.axis, 0)
            kept = max(0, len(along) - moved)
            along[:kept] = self.copied(along[len(along) - kept :])
            along[kept:] = 0
        self.first, self.corner[self.axis] = stop, base


def not_finite() -> ModelError:
    """Why a run ends whose network gave something else than numbers."""
    return ModelError(
        "the network gave scores that are not finite numbers; "
        "its weights are damaged, or the image is not prepared as it was in training"
    )
