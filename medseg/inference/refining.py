"""Scores that can still be improved: kept on disk, refined in a box around the labels, and decided anew.

The box is taken in parts along its longest axis, as thick as memory allows. A part is read with a margin all
around, which a refiner only looks at; what was refined is fed, part by part, into a sink like the one that
decided the first time. Voxels outside the box keep their labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import PluginError, ResourceError
from medseg.extent import extent, margin_voxels
from medseg.inference.probabilities import Activation
from medseg.inference.score_store import ScoreStore, covered
from medseg.memory import available_bytes
from medseg.prediction import Scores, Sink
from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

__all__ = ["Improve", "Part", "Refinable", "least_bytes"]

FLOAT = 4  # bytes
MOST_BYTES = 2 << 30  # a part is made no larger than what takes so much
ON_EDGE = 1e-3  # voxels; the tolerance of Grid.same_as
HALO = 1  # slices of linear interpolation

Improve = Callable[[Scores, Volume], Scores]
Work = Callable[[Scores, Volume], int]
Room = Callable[[int], None]
Voxels = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """Some voxels of a grid: first and last + 1 along i, j, k."""

    low: Voxels
    high: Voxels

    @classmethod
    def of(cls, low: Iterable[int], high: Iterable[int], grid: Grid) -> Part | None:
        """As far as the grid goes; None where it is not met."""
        i, j, k = (
            (max(0, int(a)), min(size, int(b))) for a, b, size in zip(low, high, grid.shape, strict=True)
        )
        met = all(a < b for a, b in (i, j, k))
        return cls((i[0], j[0], k[0]), (i[1], j[1], k[1])) if met else None

    @classmethod
    def around(cls, mask: NDArray[Any], grid: Grid) -> Part | None:
        """The voxels between the first and the last in `mask[i, j, k]` along each axis; None where empty."""
        box = extent(mask)
        return None if box is None else cls.of([s.start for s in box], [s.stop for s in box], grid)

    @property
    def shape(self) -> Voxels:
        """Voxels along i, j, k."""
        i, j, k = (b - a for a, b in zip(self.low, self.high, strict=True))
        return i, j, k

    @property
    def longest(self) -> int:
        """The axis with most voxels."""
        return max(range(3), key=lambda axis: self.shape[axis])

    def grid(self, whole: Grid) -> Grid:
        """Where it lies."""
        return whole.cropped(self.low, self.high)

    def within(self, other: Part) -> tuple[slice, ...]:
        """Its voxels, counted in another part."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.low, self.high, other.low, strict=True))

    def grown(self, by: Sequence[int], grid: Grid) -> Part:
        """With so many voxels more on each side, as far as the grid goes."""
        low = [a - n for a, n in zip(self.low, by, strict=True)]
        high = [b + n for b, n in zip(self.high, by, strict=True)]
        grown = Part.of(low, high, grid)
        assert grown is not None  # it holds this one
        return grown

    def slabs(self, axis: int, thick: int) -> Iterator[Part]:
        """It in parts of so many slices."""
        for start in range(self.low[axis], self.high[axis], thick):
            low, high = list(self.low), list(self.high)
            low[axis], high[axis] = start, min(start + thick, self.high[axis])
            yield Part((low[0], low[1], low[2]), (high[0], high[1], high[2]))


@dataclass(frozen=True, eq=False)
class Refinable:
    """What labels were decided from: logits on disk, and how they are decided.

    `store` has all channels on the whole grid; `decide(grid, axis, onto)` gives a fresh sink of the head's.
    """

    store: ScoreStore
    activation: Activation
    decide: Callable[[Grid, int, Grid], Sink]

    def box(self, found: Segmentation, margin_mm: float) -> Part | None:
        """The part of the model grid around all labels, with a margin; None where there are no labels."""
        extent = Part.around(np.any(found.array, axis=0), found.grid)
        if extent is None:
            return None
        grid = self.store.grid
        margin = margin_voxels(grid, margin_mm)
        low, high = covered(grid, extent.grid(found.grid))
        return Part.of(low - margin, high + margin, grid)

    def refined(
        self,
        found: Segmentation,
        volume: Volume,
        improve: Improve,
        *,
        margin_mm: float,
        work: Work,
        room: Room = lambda count: None,
    ) -> tuple[Segmentation, dict[str, Any]]:
        """The labels after `improve`, on the grid of `found`; and what was done, for the record.

        `volume` is the image on the grid of the scores; `work` and `room` are about memory, as with steps.
        """
        box = self.box(found, margin_mm)
        if box is None:
            return found, {"box": None}
        axis, margin = box.longest, margin_voxels(self.store.grid, margin_mm)
        thick = self._thickness(box, margin, volume, work=work, room=room)
        target, inside = _target(found.grid, box, self.store.grid)
        if target is None:
            return found, {"box": None}
        sink = self.decide(box.grid(self.store.grid), axis, target.grid(found.grid))
        halo: NDArray[Any] | None = None
        for slab in box.slabs(axis, thick):
            better = self._improved(slab, slab.grown(margin, self.store.grid), volume, improve)
            halo = self._feed(sink, box, slab, better, halo=halo)
        decided: object = sink.finish()
        if not isinstance(decided, Segmentation):
            raise PluginError(f"the head's sink gave {type(decided).__name__}, not a Segmentation")
        array = found.array.copy()
        i, j, k = target.within(Part((0, 0, 0), found.grid.shape))
        np.copyto(array[:, i, j, k], decided.array, where=inside)
        used = {"box": [list(box.low), list(box.high)], "parts": -(-box.shape[axis] // thick)}
        return found.replace(array=array), used

    def _improved(self, slab: Part, around: Part, volume: Volume, improve: Improve) -> Scores:
        """The refined scores of a slab, of which the voxels `around` are looked at."""
        read = self.store.part(around.low, around.high)
        scores = Scores(read.array, read.grid, read.kind, self.activation)
        better = improve(scores, volume.crop(around.low, around.high))
        i, j, k = slab.within(around)
        return Scores(better.array[:, i, j, k], slab.grid(self.store.grid), better.kind)

    def _feed(
        self, sink: Sink, box: Part, slab: Part, better: Scores, *, halo: NDArray[Any] | None
    ) -> NDArray[Any] | None:
        """Hand a slab to the sink behind the last slices of the one before, and give its own last ones."""
        axis, grid, low = box.longest, self.store.grid, list(slab.low)
        array = np.asarray(better.array, np.float32)
        if halo is not None:
            array = np.concatenate([halo, array], axis=1 + axis)
            low[axis] -= halo.shape[1 + axis]
        scores = Scores(array, grid.cropped(low, slab.high), better.kind)
        sink.take(scores, low[axis] - box.low[axis])
        kept = min(sink.halo, array.shape[1 + axis])
        last = [slice(None)] * 4
        last[1 + axis] = slice(array.shape[1 + axis] - kept, None)
        return array[tuple(last)].copy() if kept else None

    def _thickness(self, box: Part, margin: Voxels, volume: Volume, *, work: Work, room: Room) -> int:
        """Slices of a part: those of the box, or half as many, or half of that, until memory has room."""
        usable = min(MOST_BYTES, available_bytes() // 2)
        thick = box.shape[box.longest]
        while True:
            around = next(box.slabs(box.longest, thick)).grown(margin, self.store.grid)
            count = _part_bytes(self.store.count, around.shape, volume, work)
            try:
                if count <= usable or thick == 1:
                    room(count + _decided_bytes(box))
                    return thick
            except ResourceError:
                if thick == 1:
                    raise
            thick = max(1, thick // 2)


def least_bytes(channels: int, grid: Grid, volume: Volume, *, margin_mm: float, work: Work) -> int:
    """What refining scores on `grid` takes at least, wherever the labels lie: a slice, and its margin."""
    whole = Part((0, 0, 0), grid.shape)
    thinnest = next(whole.slabs(whole.longest, 1)).grown(margin_voxels(grid, margin_mm), grid)
    return _part_bytes(channels, thinnest.shape, volume, work) + _decided_bytes(whole)


def _part_bytes(channels: int, shape: Voxels, volume: Volume, work: Work) -> int:
    """What a part takes: scores as read, what a refiner does with them, what it gives, and a copy of that."""
    nothing = np.broadcast_to(np.zeros((), np.float32), (channels, *shape))
    grid = volume.grid.cropped((0, 0, 0), shape)
    image = np.broadcast_to(np.zeros((), volume.array.dtype), (len(volume.channels), *shape))
    there = work(Scores(nothing, grid, "logits"), Volume(image, grid, volume.channels))
    return there + 3 * FLOAT * nothing.size


def _decided_bytes(box: Part) -> int:
    """The labels once more, and which of them are inside, if the native grid has as many voxels."""
    return 4 * math.prod(box.shape)


def _target(native: Grid, box: Part, grid: Grid) -> tuple[Part | None, NDArray[np.bool_]]:
    """The native voxels about a box of the model grid, and which of them are decided by it alone.

    Those between the centres of its outermost voxels; where the box ends with the grid, up to its faces, as
    in `Placement`. No label outside depends on what was refined, and none inside on what was not.
    """
    low, high = covered(native, box.grid(grid))
    part = Part.of(low, high, native)
    if part is None:
        return None, np.zeros((0, 0, 0), np.bool_)
    matrix = box.grid(grid).index_map(part.grid(native))
    i, j, k = (np.arange(n, dtype=float) for n in part.shape)
    inside = np.ones(part.shape, np.bool_)
    for axis, size in enumerate(box.shape):
        first = -0.5 if box.low[axis] == 0 else 0.0
        last = size - (0.5 if box.high[axis] == grid.shape[axis] else 1.0)
        plane = matrix[axis, 1] * j[:, None] + matrix[axis, 2] * k[None, :] + matrix[axis, 3]
        for n in range(len(i)):
            where = plane + matrix[axis, 0] * n
            inside[n] &= (where >= first - ON_EDGE) & (where <= last + ON_EDGE)
    return part, inside
