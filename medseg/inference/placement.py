"""Scores of a model grid, slab by slab, read at the voxels of another grid.

Linear interpolation as `medseg.sampling` does it for whole images: the edge value is held for half a voxel
beyond the outermost centres, and what lies further out is outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.inference.windows import Region
from medseg.sampling import turned, whole_voxel_map
from medseg.volume import Grid

__all__ = ["Box", "Piece", "Placement", "Spots"]

OUTSIDE = 0.5 + 1e-3  # voxels beyond the outermost centres; the tolerance of Grid.same_as
STRAIGHT = 1e-6  # voxels by which an axis may drift aside over its whole length and count as parallel

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Spots:
    """Positions along one axis of the model grid: between which two slices, and how far from the lower."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]  # the same slice as `low` where a position is on it
    share: Floats
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, position: NDArray[np.float64], size: int) -> Spots:
        """Positions in voxels along an axis of so many."""
        inside = (position >= -OUTSIDE) & (position <= size - 1 + OUTSIDE)
        held = np.clip(position, 0, size - 1)
        low = np.floor(held)
        share = (held - low).astype(np.float32)
        below = low.astype(np.intp)
        return cls(below, below + (share > 0), share, inside)

    def at(self, where: Any, start: int = 0) -> Spots:
        """Some of the positions, counted from slice `start`."""
        return Spots(
            self.low[where] - start, self.high[where] - start, self.share[where], self.inside[where]
        )

    def read(self, plane: Floats, axis: int) -> Floats:
        """Interpolate `plane` along one of its two axes."""
        if not self.share.any():
            return plane.take(self.low, axis)
        if axis == 1:  # rows are copied whole, columns number by number: turned around it takes half the time
            plane = np.ascontiguousarray(plane.T)
        low, change = plane.take(self.low, 0), plane.take(self.high, 0)
        change -= low
        change *= self.share[:, None]
        low += change
        return low if axis == 0 else low.T


_Line = tuple[slice, Spots]


@dataclass(frozen=True)
class Box:
    """A box of the target whose scores are known now, of axes that run along the model's.

    `where` indexes an array `[i, j, k]` of `Placement.view`; `within` are the same voxels counted along
    `Placement.lines`, which say between which slices of the model grid they lie; `corner` is the voxel of the
    model grid at index 0 of the slab.
    """

    where: tuple[slice, slice, slice]
    within: tuple[slice, slice, slice]
    corner: tuple[int, int, int]


@dataclass(frozen=True)
class Piece:
    """Some voxels of the target whose scores are known now.

    `where` indexes an array `[i, j, k]` of `Placement.view`; `scores(channel)` are the values there, in
    float32, of the shape that `where` selects. They may share memory with the slab.
    """

    where: tuple[Any, ...]
    scores: Callable[[int], Floats]


class Placement:
    """Where the voxels of `onto` lie on the model's `grid`, whose scores come in slabs along `axis`.

    `halo` is what a sink that uses it needs: 1, or 0 where only whole voxels move and values are copied.
    """

    def __init__(self, grid: Grid, *, axis: int, onto: Grid) -> None:
        if grid.unit != onto.unit:
            raise GeometryError(f"scores in {grid.unit} cannot be placed on a grid in {onto.unit}")
        self.grid = grid
        self.axis = axis
        self.onto = onto
        # The target's axes in the order and direction of the model's: what comes out for a place then does
        # not depend, to the bit, on how the native image is stored.
        self._target = onto.reoriented(grid.axis_codes)
        self._matrix = grid.index_map(self._target)
        whole = whole_voxel_map(self._matrix, self._target.shape) is not None
        if whole:
            self._matrix = np.rint(self._matrix)
        self.halo = 0 if whole else 1
        linear = self._matrix[:3, :3]
        drift = np.abs(linear - np.diag(np.diag(linear))) @ np.asarray(self._target.shape)
        self.lines = self._axis_lines() if drift.max() < STRAIGHT else None  # None where axes are oblique
        self._seen = 0  # slices of the model grid that were handed out
        self._region = _everywhere(grid)

    def view(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of `array[i, j, k]` on `onto` that a piece's `where` indexes."""
        forth = whole_voxel_map(self.onto.index_map(self._target), self._target.shape)
        assert forth is not None  # reorienting moves whole voxels
        return np.asarray(turned(array[None], *forth[:2])[0])

    def begin(self, region: Region) -> None:
        """Expect the slabs of a block next: those of the voxels `region` of the model grid.

        A voxel of the target belongs to the block in which the higher one of its neighbours lies, along each
        axis; the lower one may be in the halo.
        """
        self._region = region
        self._seen = 0

    def pieces(self, slab: Floats, start: int) -> Iterator[Piece]:
        """The voxels that can be read now that `slab[C, i, j, k]` has come, each voxel once in all.

        Slice 0 of the slab is slice `start` of the grid; along the other axes it ends where the block does.
        Use every piece before asking for the next slab.
        """
        if self.lines is None:
            yield from self._scattered(slab, *self._due(slab.shape[1:], start))
        else:
            box = self.box(slab.shape[1:], start)
            if box is not None:
                yield from self._straight(slab, box, self.lines)

    def box(self, shape: Sequence[int], start: int) -> Box | None:
        """What can be read now that a slab of `shape` [i, j, k] has come; None where nothing can.

        In place of `pieces`, for whoever reads all of it at once; only where axes are no oblique ones.
        """
        corner, due = self._due(shape, start)
        assert self.lines is not None
        within, where = [], []
        for part, (inside, line) in zip(due, self.lines, strict=True):
            now = np.flatnonzero((line.high >= part.start) & (line.high < part.stop))
            if not len(now):
                return None
            within.append(slice(int(now[0]), int(now[-1]) + 1))
            where.append(slice(inside.start + within[-1].start, inside.start + within[-1].stop))
        return Box((where[0], where[1], where[2]), (within[0], within[1], within[2]), corner)

    def _due(self, shape: Sequence[int], start: int) -> tuple[tuple[int, int, int], tuple[slice, ...]]:
        """The voxel of the model grid at the slab's corner, and the voxels that it is the first to bring."""
        corner = [part.stop - size for part, size in zip(self._region, shape, strict=True)]
        corner[self.axis] = start
        due = list(self._region)
        due[self.axis] = slice(self._seen, start + shape[self.axis])
        self._seen = due[self.axis].stop
        return (corner[0], corner[1], corner[2]), tuple(due)

    def _axis_lines(self) -> tuple[_Line, ...]:
        """The planes of the target along each axis that lie inside, and their positions there."""
        lines = []
        for axis, size in enumerate(self._target.shape):
            position = np.arange(size) * self._matrix[axis, axis] + self._matrix[axis, 3]
            spots = Spots.of(position, self.grid.shape[axis])
            inside = np.flatnonzero(spots.inside)
            within = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
            lines.append((within, spots.at(within)))
        return tuple(lines)

    def _straight(self, slab: Floats, box: Box, lines: tuple[_Line, ...]) -> Iterator[Piece]:
        """Parallel axes: planes of the target, one after the other, each axis interpolated by itself."""
        parts = zip(lines, box.within, box.corner, strict=True)
        spots = [line.at(within, corner) for (_, line), within, corner in parts]
        where: list[Any] = list(box.where)
        along, first = spots.pop(self.axis), where[self.axis].start
        rows, columns = spots
        planes = np.moveaxis(slab, 1 + self.axis, 1)
        for n in range(len(along.low)):
            between = along.at(slice(n, n + 1))

            def scores(channel: int, between: Spots = between) -> Floats:
                plane: Floats = planes[channel, between.low[0]]
                if between.share[0]:
                    plane = plane + between.share * (planes[channel, between.high[0]] - plane)
                return columns.read(rows.read(plane, 0), 1)

            where[self.axis] = first + n
            yield Piece(tuple(where), scores)

    def _scattered(self, slab: Floats, corner: Sequence[int], due: Sequence[slice]) -> Iterator[Piece]:
        """Oblique axes: of each plane of the target, the voxels that lie in this slab."""
        matrix, last = self._matrix, self.grid.shape[self.axis] - 1
        row, column = (axis for axis in range(3) if axis != self.axis)
        u, v = np.arange(self._target.shape[row])[:, None], np.arange(self._target.shape[column])[None, :]
        plane = [matrix[a, row] * u + matrix[a, column] * v + matrix[a, 3] for a in range(3)]
        ends = np.array([plane[self.axis].min(), plane[self.axis].max()])
        for t in range(self._target.shape[self.axis]):
            near, far = np.clip(ends + matrix[self.axis, self.axis] * t, 0, last)
            if far < due[self.axis].start - 1 or near > due[self.axis].stop:
                continue
            spots = [Spots.of(plane[a] + matrix[a, self.axis] * t, self.grid.shape[a]) for a in range(3)]
            now = np.logical_and.reduce(
                [
                    spot.inside & (spot.high >= part.start) & (spot.high < part.stop)
                    for spot, part in zip(spots, due, strict=True)
                ]
            )
            if now.any():
                found = np.nonzero(now)
                where: list[Any] = [t, t, t]
                where[row], where[column] = found
                corners = [spot.at(found, low) for spot, low in zip(spots, corner, strict=True)]
                yield Piece(tuple(where), partial(_trilinear, slab, corners))


def _everywhere(grid: Grid) -> Region:
    i, j, k = (slice(0, size) for size in grid.shape)
    return i, j, k


def _trilinear(slab: Floats, spots: Sequence[Spots], channel: int) -> Floats:
    """One channel of `slab[C, i, j, k]` at scattered positions, k first."""
    values: Floats = slab[channel]
    a, b, c = spots

    def along_k(i: NDArray[np.intp], j: NDArray[np.intp]) -> Floats:
        low = values[i, j, c.low]
        return low + c.share * (values[i, j, c.high] - low)

    def along_j(i: NDArray[np.intp]) -> Floats:
        low = along_k(i, b.low)
        return low + b.share * (along_k(i, b.high) - low)

    low = along_j(a.low)
    return low + a.share * (along_j(a.high) - low)
