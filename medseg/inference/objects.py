"""Objects from scores: decoded block by block, each of them whole, whatever the borders between blocks.

Scores are kept on disk until all of them are there. Then they are read in blocks with a margin around, and a
head decodes each by itself. An object is of the block that its anchor lies in: a voxel that follows from the
scores about the object alone, so that all blocks that see it agree. Where an object of a block reaches the
end of the margin, the block is read again with a wider one. Ids follow from the anchors, not from the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.inference.refining import Part
from medseg.inference.score_store import ScoreSink, ScoreStore
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink, Wanted
from medseg.segmentation import LabelTable, Object, Segmentation
from medseg.volume import Grid

__all__ = ["Decode", "Decoded", "ObjectSink", "object_bytes"]

MOST_VOXELS = 1 << 23  # of a block with its margin
WIDEST = 4  # times MOST_VOXELS: a block is made no larger for the sake of an object
DECODING_BYTES = 96  # a voxel, beside its scores: ids, heights, places, and what comes between
SAME = 0.5  # of its voxels taken by others: the object is one of theirs, found again
FLOAT = 4
EVERYWHERE = Wanted(whole_scores=True)


@dataclass(frozen=True, eq=False)
class Decoded:
    """The objects of a block: `ids[i, j, k]` from 1 to n, 0 where there is none.

    `anchors[n, 3]` is a voxel of the block for each, `labels[n]` the place of its label in the table, counted
    from 0, and `scores[n]` how sure it is, from 0 to 1. `stuff[i, j, k]` are voxels that are of a label whose
    voxels are not told apart: the place of the label, counted from 1; None where there are no such labels.
    """

    ids: NDArray[np.int32] = field(repr=False)
    anchors: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    stuff: NDArray[np.uint8] | None = field(default=None, repr=False)


Decode = Callable[[NDArray[np.float32]], Decoded]
"""Called with the scores `[C, i, j, k]` of a block, as logits; it must not look at how large the block is."""


def object_bytes(grid: Grid, channels: int) -> int:
    """What an `ObjectSink` takes at most: ids on the grid that it decodes on, and a block at work."""
    voxels = min(math.prod(grid.shape), WIDEST * MOST_VOXELS)
    return FLOAT * math.prod(grid.shape) + voxels * (FLOAT * channels + DECODING_BYTES)


class ObjectSink(Sink):
    """Decodes objects of `labels` on the grid of the scores, which come in slabs along `axis`.

    `margin` is about the size of the objects, in voxels: what a block is read with around. Larger objects are
    found whole too, only slower. What `finish` gives has one layer, of objects with ids from 1 on, in the
    order of their anchors; behind them one for each label that is stuff, so that every voxel of a label has
    one label and one id (Kirillov et al., Panoptic segmentation, CVPR 2019).
    """

    most_voxels: ClassVar[int] = MOST_VOXELS

    def __init__(
        self,
        labels: LabelTable,
        *,
        grid: Grid,
        axis: int,
        channels: int,
        decode: Decode,
        margin: int = 64,
    ) -> None:
        self._labels, self._grid = labels, grid
        self._axis, self._channels = axis, channels
        self._decode = decode
        self._margin = margin
        self._kept: ScoreSink | None = None

    @property
    def _store(self) -> ScoreSink:
        """Made when the first slab comes: it takes its room on disk at once."""
        if self._kept is None:
            self._kept = ScoreSink(
                self._labels,
                grid=self._grid,
                axis=self._axis,
                channels=self._channels,
                activation=None,
                wanted=EVERYWHERE,
            )
        return self._kept

    def begin(self, region: Region) -> None:
        """Expect the slabs of a block of the plane next."""
        self._store.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """Keep what is new."""
        self._store.take(slab, start)

    def finish(self) -> Segmentation:
        """Decode what was kept."""
        store = self._store.finish()
        self._kept = None
        try:
            return self._segmentation(store)
        finally:
            store.close()

    def _segmentation(self, store: ScoreStore) -> Segmentation:
        array = np.zeros(self._grid.shape, np.uint32)
        stuff: NDArray[np.uint8] | None = None
        found = _Found(np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        for core in _cores(self._grid, self._margin, self.most_voxels):
            around, decoded = self._decoded(store, core)
            found = found.with_those(core, around, decoded, array)
            if decoded.stuff is not None:
                stuff = np.zeros(self._grid.shape, np.uint8) if stuff is None else stuff
                stuff[_voxels(core)] = decoded.stuff[core.within(around)]
        order = np.lexsort(found.anchors.T[::-1])
        number = np.zeros(len(order) + 1, np.uint32)
        number[1 + order] = np.arange(1, len(order) + 1)
        for plane in array:
            plane[:] = number[plane]
        names = [label.name for label in self._labels]
        objects = tuple(
            Object(n, names[found.labels[place]], round(float(found.scores[place]), 4))
            for n, place in enumerate(order.tolist(), start=1)
        )
        if stuff is not None:
            objects += _painted(stuff, array, names, len(objects))
        return Segmentation(array[None], self._grid, self._labels, ("objects",), objects)

    def _decoded(self, store: ScoreStore, core: Part) -> tuple[Part, Decoded]:
        """A block and its objects, those of its core as far as they go."""
        margin = self._margin
        while True:
            around = core.grown((margin,) * 3, self._grid)
            decoded = self._decode(store.part(around.low, around.high).array)
            wider = core.grown((2 * margin,) * 3, self._grid)
            if wider == around or math.prod(wider.shape) > WIDEST * self.most_voxels:
                return around, decoded
            if not _cut(decoded, core, around, self._grid).any():
                return around, decoded
            margin *= 2


@dataclass(frozen=True, eq=False)
class _Found:
    """The objects so far, numbered from 1 in their order, with anchors in the grid's voxels."""

    anchors: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def with_those(self, core: Part, around: Part, decoded: Decoded, array: NDArray[np.uint32]) -> _Found:
        """With the core's own objects in a block, which are painted into `array` where it is free."""
        own = np.flatnonzero(_within(decoded, core, around))
        number = np.zeros(len(decoded.anchors) + 1, np.uint32)
        number[1 + own] = 1
        region = array[_voxels(around)]
        taken = np.bincount(decoded.ids[region > 0], minlength=len(number))
        size = np.bincount(decoded.ids.ravel(), minlength=len(number))
        own = own[(taken < SAME * size)[1 + own]]
        number[:] = 0
        number[1 + own] = np.arange(1, len(own) + 1) + len(self.anchors)
        painted = number[decoded.ids]
        np.copyto(region, painted, where=(region == 0) & (painted > 0))
        return _Found(
            np.concatenate([self.anchors, decoded.anchors[own] + np.array(around.low)]),
            np.concatenate([self.labels, decoded.labels[own]]),
            np.concatenate([self.scores, decoded.scores[own]]),
        )


def _voxels(part: Part) -> tuple[slice, ...]:
    """Where a part lies in an array of the grid."""
    return tuple(slice(a, b) for a, b in zip(part.low, part.high, strict=True))


def _painted(
    stuff: NDArray[np.uint8], array: NDArray[np.uint32], names: list[str], taken: int
) -> tuple[Object, ...]:
    """An object for each label that is stuff somewhere, painted into `array` where it is free."""
    objects: list[Object] = []
    for place, name in enumerate(names, start=1):
        own = (stuff == place) & (array == 0)
        if own.any():
            objects.append(Object(taken + len(objects) + 1, name))
            array[own] = objects[-1].id
    return tuple(objects)


def _cores(grid: Grid, margin: int, most: int) -> Iterator[Part]:
    """Blocks without their margins, which cover the grid: one where it is small."""
    if math.prod(grid.shape) <= most:
        yield Part((0, 0, 0), grid.shape)
        return
    deep = sum(size > 1 for size in grid.shape)
    side = max(margin, int(most ** (1 / deep)) - 2 * margin)
    starts = product(*(range(0, size, side) for size in grid.shape))
    for low in starts:
        part = Part.of(low, [start + side for start in low], grid)
        assert part is not None  # it begins within
        yield part


def _within(decoded: Decoded, core: Part, around: Part) -> NDArray[np.bool_]:
    """Which objects have their anchors in the core."""
    at = decoded.anchors + np.array(around.low)
    return np.asarray(((at >= core.low) & (at < core.high)).all(axis=1))


def _cut(decoded: Decoded, core: Part, around: Part, grid: Grid) -> NDArray[np.bool_]:
    """Which of the core's objects reach a face of the block that is none of the image."""
    touched = np.zeros(len(decoded.anchors) + 1, np.bool_)
    for axis in range(3):
        faces: tuple[tuple[int, Any], ...] = (
            (0, around.low[axis] > 0),
            (-1, around.high[axis] < grid.shape[axis]),
        )
        for face, inner in faces:
            if inner:
                touched[decoded.ids.take(face, axis).ravel()] = True
    return np.asarray(touched[1:] & _within(decoded, core, around))
