"""Objects from scores: decoded block by block, each of them whole, whatever the borders between blocks.

Scores are kept on disk until all of them are there. Then they are read in blocks with a margin around, and a
head decodes each by itself. An object is of the block that its anchor lies in: a voxel that follows from the
scores about the object alone, so that all blocks that see it agree. Where an object of a block reaches the
end of the margin, it is read again with what is about it, as far as memory allows. Of a still larger one,
what several blocks see is joined where most of it is the same in their margins. Ids follow from the anchors,
not from the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.inference.object_blocks import Blocks
from medseg.inference.object_pieces import Piece, joined
from medseg.inference.refining import Part
from medseg.inference.score_store import ScoreSink, ScoreStore, stored_bytes
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink, Wanted
from medseg.segmentation import LabelTable, Object, Segmentation
from medseg.volume import Grid

__all__ = [
    "Decode",
    "Decoded",
    "ObjectSink",
    "decoding_bytes",
    "largest_block",
    "object_bytes",
    "on_grid_bytes",
]

MOST_BYTES = 2_000_000_000  # that a block takes while it is decoded
MOST_VOXELS = 1 << 24  # of a block with its margin
DECODING_BYTES = 56  # a voxel, beside its scores and their copies: ids, heights, and what comes between
COPIES = 2  # of the scores: probabilities, and what they are made from
ON_GRID = 5  # bytes a voxel of the whole grid: ids and stuff
LEAST_ROOM = 4  # an object that is read again has a margin of at least so small a part of a block's
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


def decoding_bytes(channels: int) -> int:
    """What decoding takes a voxel beside its scores, as heads do it mostly: copies of these, and ids."""
    return COPIES * FLOAT * channels + DECODING_BYTES


def object_bytes(grid: Grid, channels: int, *, margin: int = 64, decoding: int | None = None) -> int:
    """What an `ObjectSink` takes at most: ids on the grid that it decodes on, and its largest block at work.

    `margin` and `decoding` are those of the sink. A block takes 2 GB at most.
    """
    voxel = _voxel_bytes(channels, decoding)
    blocks = _blocks(grid, margin, voxel, MOST_VOXELS)
    return on_grid_bytes(grid) + min(blocks.most, math.prod(grid.shape)) * voxel


def largest_block(
    grid: Grid, channels: int, *, margin: int = 64, decoding: int | None = None
) -> tuple[int, int, int]:
    """The sides of the largest block that an `ObjectSink` decodes at first, its margin included."""
    return _blocks(grid, margin, _voxel_bytes(channels, decoding), MOST_VOXELS).widest


def on_grid_bytes(grid: Grid) -> int:
    """What of `object_bytes` is of the whole grid, ids and stuff; the rest goes when all is decoded."""
    return ON_GRID * math.prod(grid.shape)


def _voxel_bytes(channels: int, decoding: int | None) -> int:
    return FLOAT * channels + (decoding_bytes(channels) if decoding is None else decoding)


def _blocks(grid: Grid, margin: int, voxel_bytes: int, most: int) -> Blocks:
    return Blocks.of(grid, margin=margin, most=min(most, MOST_BYTES // voxel_bytes))


class ObjectSink(Sink):
    """Decodes objects of `labels` on the grid of the scores, which come in slabs along `axis`.

    `margin` is about the size of the objects, in voxels: what a block is read with around, or less where
    memory has no room for so much; a voxel that two objects reach at once may then be of the other one.
    Larger objects are found whole too, only slower. Of one that does not fit
    into memory itself, each block decides about its own voxels, and where blocks overlap by most of what they
    see, it is one object: `attributes={"joined": True}` says so, since it may differ at borders from what
    the whole image would give. `decoding` are the bytes a voxel that decoding takes beside the scores; None
    for those of `decoding_bytes`.

    What `finish` gives has one layer, of objects with ids from 1 on, in the order of their anchors; behind
    them one for each label that is stuff, so that every voxel of a label has one label and one id (Kirillov
    et al., Panoptic segmentation, CVPR 2019).
    """

    most_voxels: ClassVar[int] = MOST_VOXELS

    def __init__(  # noqa: PLR0913 - all but the labels are named
        self,
        labels: LabelTable,
        *,
        grid: Grid,
        axis: int,
        channels: int,
        decode: Decode,
        margin: int = 64,
        decoding: int | None = None,
    ) -> None:
        self._labels, self._grid = labels, grid
        self._axis, self._channels = axis, channels
        self._decode = decode
        self._blocks = _blocks(grid, margin, _voxel_bytes(channels, decoding), self.most_voxels)
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

    @property
    def disk_bytes(self) -> int:
        """What the scores take on disk, from the first slab to the end."""
        return stored_bytes(self._grid, EVERYWHERE, self._channels)

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
        found, pieces = _Found.none(), list[Piece]()
        for core in self._blocks.cores():
            block = self._decoded(store, core, self._blocks.around(core))
            own, cut = block.own(), block.cut(self._grid)
            found = found.with_those(block, own & ~cut, array)
            for place, piece in block.pieces(cut):
                if own[place] and not piece.is_free(array):
                    continue  # of an object that is there already
                again = self._whole(store, block, piece) if own[place] else None
                if again is None:
                    pieces.append(piece)
                else:
                    found = found.with_those(*again, array)
                del again
            if block.decoded.stuff is not None:
                stuff = np.zeros(self._grid.shape, np.uint8) if stuff is None else stuff
                stuff[_voxels(core)] = block.decoded.stuff[core.within(block.around)]
            del block
        for several in joined(pieces, array):
            found = found.with_joined(several, array)
        names = [label.name for label in self._labels]
        objects = found.objects(array, names)
        if stuff is not None:
            objects += _painted(stuff, array, names, len(objects))
        return Segmentation(array[None], self._grid, self._labels, ("objects",), objects)

    def _decoded(self, store: ScoreStore, core: Part, around: Part) -> _Block:
        return _Block(core, around, self._decode(store.part(around.low, around.high).array))

    def _whole(
        self, store: ScoreStore, block: _Block, piece: Piece
    ) -> tuple[_Block, NDArray[np.bool_]] | None:
        """An object that a block cuts, read again with more about it; None where that is too much.

        What it is of then may have its anchor elsewhere: nothing of it is chosen, another block has it.
        """
        box, mask, by = piece.part, piece.mask, max(1, self._blocks.margin)
        while True:
            around = self._wider(box, by)
            if around is None:
                return None
            wider = self._decoded(store, block.core, around)
            count = len(wider.decoded.anchors) + 1
            held = np.bincount(wider.decoded.ids[box.within(around)][mask], minlength=count)[1:] > 0
            chosen = held & wider.own()
            open_ones = chosen & wider.cut(self._grid)
            if not open_ones.any():
                return (wider, chosen) if chosen.any() else None
            mask = np.concatenate([[False], open_ones])[wider.decoded.ids]
            seen = Part.around(mask, self._grid)
            assert seen is not None  # it is one of the objects
            low = [min(a, o + b) for a, b, o in zip(box.low, seen.low, around.low, strict=True)]
            high = [max(a, o + b) for a, b, o in zip(box.high, seen.high, around.low, strict=True)]
            box = Part((low[0], low[1], low[2]), (high[0], high[1], high[2]))
            mask, by = mask[box.within(around)], 2 * by
            del wider  # before as much is read again

    def _wider(self, box: Part, by: int) -> Part | None:
        """A box with so much around it, or with less: what may be read at once; None for too little."""
        while by >= max(1, self._blocks.margin // LEAST_ROOM):
            around = box.grown((by,) * 3, self._grid)
            if math.prod(around.shape) <= self._blocks.most:
                return around
            by //= 2
        return None


@dataclass(frozen=True, eq=False)
class _Block:
    """What was decoded of a part of the grid, `around`; objects with their anchors in `core` are its own."""

    core: Part
    around: Part
    decoded: Decoded

    def own(self) -> NDArray[np.bool_]:
        """Which objects have their anchors in the core."""
        at = self.decoded.anchors + np.array(self.around.low)
        return np.asarray(((at >= self.core.low) & (at < self.core.high)).all(axis=1))

    def cut(self, grid: Grid) -> NDArray[np.bool_]:
        """Which objects reach a face of the block that is none of the image."""
        touched = np.zeros(len(self.decoded.anchors) + 1, np.bool_)
        for axis in range(3):
            if self.around.low[axis] > 0:
                touched[self.decoded.ids.take(0, axis).ravel()] = True
            if self.around.high[axis] < grid.shape[axis]:
                touched[self.decoded.ids.take(-1, axis).ravel()] = True
        return touched[1:]

    def pieces(self, chosen: NDArray[np.bool_]) -> Iterator[tuple[int, Piece]]:
        """Those of the chosen objects that have voxels in the core, with their places."""
        if not chosen.any():
            return
        from scipy.ndimage import find_objects

        decoded, low = self.decoded, self.around.low
        inside = np.unique(decoded.ids[self.core.within(self.around)])
        boxes = find_objects(decoded.ids)
        for number in inside[(inside > 0) & np.concatenate([[False], chosen])[inside]].tolist():
            box, place = boxes[number - 1], number - 1
            i, j, k = ((part.start + at, part.stop + at) for part, at in zip(box, low, strict=True))
            yield (
                place,
                Piece.of(
                    decoded.ids[box] == number,
                    part=Part((i[0], j[0], k[0]), (i[1], j[1], k[1])),
                    core=self.core,
                    around=self.around,
                    label=int(decoded.labels[place]),
                    score=float(decoded.scores[place]),
                ),
            )


@dataclass(frozen=True, eq=False)
class _Found:
    """The objects so far, numbered from 1 in their order, with anchors in the grid's voxels."""

    anchors: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    pieces: NDArray[np.bool_]  # whether it was joined of what several blocks saw

    @classmethod
    def none(cls) -> _Found:
        """To begin with."""
        return cls(
            np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.bool_)
        )

    def with_those(self, block: _Block, chosen: NDArray[np.bool_], array: NDArray[np.uint32]) -> _Found:
        """With some of the objects in a block, which are painted into `array` where it is free."""
        decoded = block.decoded
        own = np.flatnonzero(chosen)
        number = np.zeros(len(decoded.anchors) + 1, np.uint32)
        region = array[_voxels(block.around)]
        taken = np.bincount(decoded.ids[region > 0], minlength=len(number))
        size = np.bincount(decoded.ids.ravel(), minlength=len(number))
        own = own[(taken < SAME * size)[1 + own]]
        number[1 + own] = np.arange(1, len(own) + 1) + len(self.anchors)
        painted = number[decoded.ids]
        np.copyto(region, painted, where=(region == 0) & (painted > 0))
        return self._with(
            decoded.anchors[own] + np.array(block.around.low), decoded.labels[own], decoded.scores[own], False
        )

    def with_joined(self, pieces: Sequence[Piece], array: NDArray[np.uint32]) -> _Found:
        """With an object of several pieces, each painted into `array` where its core is free.

        Its label is that of most voxels, its score their mean, and its anchor its first voxel.
        """
        sizes, firsts = [], []
        for piece in pieces:
            region, mask = piece.own(array)
            mask &= region == 0
            sizes.append(np.count_nonzero(mask))
            if sizes[-1]:
                first = np.unravel_index(int(mask.argmax()), mask.shape)
                firsts.append(
                    tuple(
                        int(a) + max(b, c)
                        for a, b, c in zip(first, piece.part.low, piece.core.low, strict=True)
                    )
                )
            region[mask] = len(self.anchors) + 1
        if not firsts:
            return self
        labels = np.bincount([piece.label for piece in pieces], sizes)
        score = np.average([piece.score for piece in pieces], weights=sizes)
        return self._with(np.array([min(firsts)]), np.array([labels.argmax()]), np.array([score]), True)

    def _with(
        self, anchors: NDArray[Any], labels: NDArray[Any], scores: NDArray[Any], of_pieces: bool
    ) -> _Found:
        return _Found(
            np.concatenate([self.anchors, anchors]),
            np.concatenate([self.labels, labels]),
            np.concatenate([self.scores, scores.astype(np.float32)]),
            np.concatenate([self.pieces, np.full(len(labels), of_pieces)]),
        )

    def objects(self, array: NDArray[np.uint32], names: Sequence[str]) -> tuple[Object, ...]:
        """All of them in the order of their anchors, with ids from 1 on, which `array` then holds."""
        order = np.lexsort(self.anchors.T[::-1])
        number = np.zeros(len(order) + 1, np.uint32)
        number[1 + order] = np.arange(1, len(order) + 1)
        for plane in array:
            plane[:] = number[plane]
        return tuple(
            Object(
                n,
                names[self.labels[place]],
                round(float(self.scores[place]), 4),
                {"joined": True} if self.pieces[place] else {},
            )
            for n, place in enumerate(order.tolist(), start=1)
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
        id_ = taken + len(objects) + 1
        for here, plane in zip(stuff, array, strict=True):
            own = (here == place) & (plane == 0)
            plane[own] = id_
            if own.any() and (not objects or objects[-1].id != id_):
                objects.append(Object(id_, name))
    return tuple(objects)
