"""Scores kept on disk: written slab by slab while the network runs, read back box by box.

They lie in files without a name, in half precision, slice after slice along the axis in which they came, so
that a slab is one stretch of the file. Nothing stays mapped between two calls: what was written or read does
not count as memory of the process.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, UsageError
from medseg.inference.coverage import Coverage
from medseg.inference.probabilities import Activation, Kind, first_label, probabilities
from medseg.inference.scratch import scratch_file
from medseg.inference.threads import spread
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink, Wanted
from medseg.segmentation import LabelTable
from medseg.volume import Grid

__all__ = ["STORED", "ScoreSink", "ScoreStore", "covered", "model_boxes", "stored_bytes"]

STORED = np.dtype(np.float16)  # a probability is off by at most 0.00025
MARGIN = 1  # voxels around those that interpolation reads, for whoever looks at neighbours
NUDGE = 1e-3  # voxels; the tolerance of Grid.same_as


@dataclass(frozen=True, eq=False)
class _Box:
    """A part of the model grid and its file, laid out as `[axis, channel, the two others]`."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    file: IO[bytes]

    def __post_init__(self) -> None:
        weakref.finalize(self, self.file.close)

    def shape(self, axis: int, channels: int) -> tuple[int, ...]:
        size = [b - a for a, b in zip(self.low, self.high, strict=True)]
        along = size.pop(axis)
        return (along, channels, *size)

    def mapped(self, axis: int, channels: int, part: slice) -> np.memmap[Any, Any]:
        """Some slices of the file, in memory as long as the array lives."""
        _, *rest = self.shape(axis, channels)
        offset = part.start * int(np.prod(rest)) * STORED.itemsize
        shape = (part.stop - part.start, *rest)
        return np.memmap(self.file, STORED, "r+", offset, shape)


class ScoreStore:
    """Scores of some labels in some boxes of the grid that was segmented, on disk.

    `channels` names them; `kind` is "probabilities", or "logits" where the head's channels are kept as they
    are (then all are there, and `channels` is empty); `count` is how many there are. `boxes` are parts of
    `grid`. Closing it, or forgetting it, frees the disk.
    """

    def __init__(
        self,
        boxes: Sequence[_Box],
        *,
        grid: Grid,
        axis: int,
        kind: Kind,
        count: int,
        channels: tuple[str, ...],
    ) -> None:
        self.grid = grid
        self.kind: Kind = kind
        self.channels = channels
        self._boxes = tuple(boxes)
        self._axis = axis
        self.count = count

    @property
    def boxes(self) -> tuple[Grid, ...]:
        """The grids in which scores were kept."""
        return tuple(self.grid.cropped(box.low, box.high) for box in self._boxes)

    @property
    def disk_bytes(self) -> int:
        """What the files take."""
        return sum(_bytes(box.low, box.high, self.count) for box in self._boxes)

    def read(self, box: Grid, labels: Sequence[str] | None = None) -> Scores:
        """Scores `[C, i, j, k]` in float32 of the voxels that `box` covers, with one more on each side.

        As far as they were kept: `grid` of what is returned says which voxels they are. One channel for each
        of `labels`, in that order; None for all that were kept. Raises UsageError where a label was not kept,
        GeometryError where nothing of the box was.
        """
        low, high = covered(self.grid, box)
        for kept in self._boxes:
            start, stop = np.maximum(low, kept.low), np.minimum(high, kept.high)
            whole = np.array_equal(start, np.maximum(low, 0)) and np.array_equal(
                stop, np.minimum(high, self.grid.shape)
            )
            if (stop > start).all() and (whole or len(self._boxes) == 1):
                return self._read(kept, start.tolist(), stop.tolist(), self._numbers(labels))
        raise GeometryError(f"no scores were kept for {box!r}")

    def part(self, low: Sequence[int], high: Sequence[int]) -> Scores:
        """All channels of just these voxels of the grid, `low` to `high` (exclusive) along i, j, k."""
        for kept in self._boxes:
            if all(a <= b for a, b in zip(kept.low, low, strict=True)) and all(
                a >= b for a, b in zip(kept.high, high, strict=True)
            ):
                return self._read(kept, list(low), list(high), list(range(self.count)))
        raise GeometryError(f"no scores were kept from voxel {list(low)} to {list(high)}")

    def _read(self, box: _Box, start: list[int], stop: list[int], numbers: list[int]) -> Scores:
        part = [slice(a - low, b - low) for a, b, low in zip(start, stop, box.low, strict=True)]
        mapped = box.mapped(self._axis, self.count, part.pop(self._axis))
        array = np.empty((len(mapped), len(numbers), *(p.stop - p.start for p in part)), np.float32)
        for n, number in enumerate(numbers):
            array[:, n] = mapped[:, number, part[0], part[1]]
        del mapped
        return Scores(np.moveaxis(array, 0, 1 + self._axis), self.grid.cropped(start, stop), self.kind)

    def _numbers(self, labels: Sequence[str] | None) -> list[int]:
        if labels is None:
            return list(range(self.count))
        for name in labels:
            if name not in self.channels:
                kept = ", ".join(self.channels) or "none by name"
                raise UsageError(f"no scores were kept for {name!r}; there are {kept}")
        return [self.channels.index(name) for name in labels]

    def renamed(self, names: Mapping[str, str]) -> ScoreStore:
        """The same files under other names of the labels."""
        channels = tuple(names.get(name, name) for name in self.channels)
        return ScoreStore(
            self._boxes, grid=self.grid, axis=self._axis, kind=self.kind, count=self.count, channels=channels
        )

    def close(self) -> None:
        """Free the disk; nothing can be read then."""
        for box in self._boxes:
            box.file.close()


class ScoreSink(Sink):
    """Writes what is new in each slab into the files of a store.

    With an `activation`, probabilities of `labels` in their order, as far as they are wanted; without, the
    network's own channels as they come, so many as `channels`. Raises UsageError for a wish that names no
    label, ResourceError where the disk has no room.
    """

    def __init__(
        self,
        labels: LabelTable,
        *,
        grid: Grid,
        axis: int,
        channels: int,
        activation: Activation | None,
        wanted: Wanted,
    ) -> None:
        names = {label.name for label in labels} if wanted.score_labels is None else wanted.score_labels
        labels.only(names)
        self._activation = activation
        self._coverage = Coverage(grid, axis)
        self._axis = axis
        kept = tuple(
            (number, label.name)
            for number, label in enumerate(labels, first_label(activation) if activation else 0)
            if label.name in names
        )
        self._numbers = [number for number, _ in kept] if activation else list(range(channels))
        self._boxes = [
            _Box(low, high, scratch_file(_bytes(low, high, len(self._numbers))))
            for low, high in model_boxes(grid, wanted)
        ]
        self._store = ScoreStore(
            self._boxes,
            grid=grid,
            axis=axis,
            kind="probabilities" if activation else "logits",
            count=len(self._numbers),
            channels=tuple(name for _, name in kept) if activation else (),
        )

    def begin(self, region: Region) -> None:
        """Another block of the plane follows."""
        self._coverage.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """Write what is new in a slab."""
        if self._numbers:
            spread(lambda new: self._store_piece(*new, slab.kind), self._coverage.pieces(slab, start))

    def _store_piece(self, where: Region, piece: NDArray[np.float32], kind: Kind) -> None:
        touched = [(box, part) for box in self._boxes if (part := _common(where, box)) is not None]
        if touched and self._activation is not None:
            piece = probabilities(piece, kind=kind, activation=self._activation)
        for box, part in touched:
            self._write(box, part, where, piece)

    def _write(self, box: _Box, part: Region, where: Region, shares: NDArray[np.float32]) -> None:
        """One piece's share of a box; half precision has an end, which a logit may lie beyond."""
        into = [slice(p.start - low, p.stop - low) for p, low in zip(part, box.low, strict=True)]
        out = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, where, strict=True))
        mapped = box.mapped(self._axis, len(self._numbers), into.pop(self._axis))
        limit = float(np.finfo(STORED).max)
        for n, number in enumerate(self._numbers):
            values = np.moveaxis(shares[number][out], self._axis, 0)
            mapped[:, n, into[0], into[1]] = values.clip(-limit, limit)
        del mapped

    def finish(self) -> ScoreStore:
        """The store, to read from."""
        return self._store


def model_boxes(grid: Grid, wanted: Wanted) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """First and last + 1 voxel of the model grid for each wanted box that meets it, or of all of it."""
    if wanted.whole_scores:
        return [((0, 0, 0), grid.shape)]
    found = []
    for box in wanted.score_boxes:
        low, high = covered(grid, box)
        low, high = np.maximum(low, 0), np.minimum(high, grid.shape)
        if (high > low).all():
            found.append(
                ((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
            )
    return found


def stored_bytes(grid: Grid, wanted: Wanted, channels: int) -> int:
    """What a store of so many channels will take on disk."""
    return sum(_bytes(low, high, channels) for low, high in model_boxes(grid, wanted))


def _bytes(low: Sequence[int], high: Sequence[int], channels: int) -> int:
    size = channels * STORED.itemsize
    for a, b in zip(low, high, strict=True):
        size *= b - a
    return size


def covered(grid: Grid, box: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 voxel of `grid` among which the centres of the voxels of `box` lie, and a margin."""
    if grid.unit != box.unit:
        raise GeometryError(f"scores in {grid.unit} cannot be read for a box in {box.unit}")
    ends = [(0, n - 1) for n in box.shape]
    corners = grid.to_index(box.to_world(list(product(*ends))))
    low = np.floor(corners.min(axis=0) + NUDGE).astype(np.int64) - MARGIN
    high = np.ceil(corners.max(axis=0) - NUDGE).astype(np.int64) + 1 + MARGIN
    return low, high


def _common(where: Region, box: _Box) -> Region | None:
    """The voxels that a piece and a box share; None where there are none."""
    parts = [
        slice(max(part.start, low), min(part.stop, high))
        for part, low, high in zip(where, box.low, box.high, strict=True)
    ]
    return (parts[0], parts[1], parts[2]) if all(part.stop > part.start for part in parts) else None
