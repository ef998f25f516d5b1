"""Star-convex shapes: the voxels within rays of given lengths, and which of many shapes stay.

A voxel lies between the two rays next to it (2-D) or in the triangle of three (3-D): its offset from the
shape's centre is a sum of their directions, so much of each. In that direction the boundary is as far as the
rays' mean, in these parts, of 1 / length; the voxel is inside where its offset is no longer. The shape is
then a ball where all rays are as long, which chords between their ends would take a tenth of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg_instances.rays import directions

__all__ = ["PILE", "Star", "Voxels", "best_apart", "painted", "star", "voxels_of"]

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
Shorts = NDArray[np.int16]

AT_ONCE = 1 << 17  # offsets of shapes that are looked at together
SUMS = 1 << 17  # offsets times faces that are looked at together
ALIKE = 1.3  # times as many offsets: of the same size
PILE = 1 << 20  # voxels of shapes, at least, that are compared with each other and with better ones
ROOM = 0.25  # of the voxels of the image, at least as many
EDGE = 1e-5  # a voxel that is on the boundary is inside


@dataclass(frozen=True, eq=False)
class Star:
    """All offsets `[n, axes]` up to some length, the shortest first, which is that of the centre.

    `far[n]` is how long they are, `rays[n, axes]` the rays around each, and `parts[n, axes]` how much of each
    ray makes the offset, times its length.
    """

    offsets: Shorts = field(repr=False)
    far: NDArray[np.float64] = field(repr=False)
    rays: Shorts = field(repr=False)
    parts: Floats = field(repr=False)

    def levels(self, lengths: Floats, room: int) -> Floats:
        """Where the first `room` offsets lie in shapes with rays `lengths[m, rays]`: `[m, room]`.

        0 in the centre, 1 on the boundary.
        """
        nearness = 1 / lengths
        found = np.zeros((len(lengths), room), np.float32)
        for rays, parts in zip(self.rays[:room].T, self.parts[:room].T, strict=True):
            found += nearness.take(rays, axis=1) * parts
        return found


@lru_cache(maxsize=2)
def star(sides: tuple[float, ...], rays: int, most: int) -> Star:
    """The offsets up to `most`, in the finest voxel side, where `sides` are the sides of a voxel."""
    axes = len(sides)
    spans = [np.arange(-int(most / side), int(most / side) + 1, dtype=np.int16) for side in sides]
    offsets = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, axes)
    far = np.linalg.norm(offsets * sides, axis=1)
    order = np.argsort(far, kind="stable")[: np.count_nonzero(far <= most)]
    offsets, far = offsets[order], far[order]
    faces = _faces(axes, rays)
    back = np.linalg.inv(directions(axes, rays)[faces])
    face, parts = np.zeros(len(offsets), np.int64), np.zeros((len(offsets), axes), np.float32)
    for some in _runs(len(offsets), max(1, SUMS // len(faces))):
        sums = [offsets[some] * sides @ back[:, :, ray].T for ray in range(axes)]
        best = reduce(np.minimum, sums).argmax(axis=1)
        face[some] = best
        for ray, each in enumerate(sums):
            parts[some, ray] = each[np.arange(len(best)), best].clip(0)
    parts *= (far / np.maximum(parts.sum(axis=1), EDGE))[:, None]
    return Star(offsets, far, faces[face].astype(np.int16), parts)


def _runs(count: int, most: int) -> Iterator[slice]:
    """So many things in turn, at most so many at once."""
    for first in range(0, count, most):
        yield slice(first, first + most)


def _faces(axes: int, rays: int) -> Numbers:
    """Rays that are next to each other: pairs on the circle, triangles on the sphere."""
    from scipy.spatial import ConvexHull

    if axes == 2:
        return np.stack([np.arange(rays), (np.arange(rays) + 1) % rays], axis=1)
    return np.asarray(ConvexHull(directions(axes, rays)).simplices, np.int64)


@dataclass(frozen=True, eq=False)
class Voxels:
    """Voxels of shapes, one shape after the other: those of shape n are `places[starts[n]:starts[n + 1]]`.

    Places are in a flat array of `size` voxels, which holds every shape wholly.
    """

    starts: Numbers
    places: NDArray[np.int32] = field(repr=False)
    size: int

    @property
    def sizes(self) -> Numbers:
        """How many each has."""
        return np.diff(self.starts)

    def of(self, chosen: NDArray[np.bool_]) -> Voxels:
        """Some of the shapes."""
        sizes = self.sizes
        return Voxels(_starts(sizes[chosen]), self.places[np.repeat(chosen, sizes)], self.size)

    def overlapping(self, others: Voxels, overlap: float) -> tuple[Numbers, Numbers]:
        """Pairs of a shape and one of the others that share more than this part of the smaller one."""
        both = (others._matrix() @ self._matrix().T).tocoo()  # what is turned is copied: the few
        column, row = both.coords
        smaller = np.minimum(self.sizes[row], others.sizes[column])
        too_much = both.data > overlap * smaller
        return row[too_much].astype(np.int64), column[too_much].astype(np.int64)

    def _matrix(self) -> Any:
        """A row for each shape, with ones at its voxels: a product of two counts what shapes share."""
        from scipy.sparse import csr_array

        ones = np.ones(len(self.places), np.int32)
        return csr_array((ones, self.places, self.starts), (len(self.starts) - 1, self.size))

    @staticmethod
    def joined(several: list[Voxels]) -> Voxels:
        """Those of several, in turn."""
        sizes = np.concatenate([each.sizes for each in several])
        places = np.concatenate([each.places for each in several])
        return Voxels(_starts(sizes), places, several[0].size)


def best_apart(
    bodies: Star, centres: Numbers, lengths: Floats, padded: tuple[int, ...], *, overlap: float
) -> tuple[Numbers, Voxels]:
    """Which shapes stay, and their voxels: each that overlaps no better one that stays by more than so much.

    Shapes are given the best first, around `centres[n]`, places in a flat array of the size `padded`.
    `overlap` is a part of the smaller one's voxels.
    """
    number: list[Numbers] = [np.zeros(0, np.int64)]
    stay = Voxels(np.zeros(1, np.int64), np.zeros(0, np.int32), math.prod(padded))
    room = np.searchsorted(bodies.far, lengths.max(axis=1, initial=0) + EDGE, side="right")
    lot = np.cumsum(room) // max(PILE, int(ROOM * math.prod(padded)))
    for first, stop in pairwise([0, *(1 + np.flatnonzero(np.diff(lot))), len(lot)]):
        if first == stop:
            continue
        found = voxels_of(bodies, centres[first:stop], lengths[first:stop], padded)
        free = np.ones(stop - first, np.bool_)
        if first:
            free[found.overlapping(stay, overlap)[0]] = False
        free[free] = _greedy(found.of(free), overlap)
        number.append(first + np.flatnonzero(free))
        stay = Voxels.joined([stay, found.of(free)])
    return np.concatenate(number), stay


def _greedy(shapes: Voxels, overlap: float) -> NDArray[np.bool_]:
    """Which of these stay, the best first."""
    free = np.ones(len(shapes.sizes), np.bool_)
    row, column = shapes.overlapping(shapes, overlap)
    later = column > row
    row, column = row[later], column[later]
    column = column[np.argsort(row, kind="stable")]
    starts = _starts(np.bincount(row, minlength=len(free)))
    for shape in np.unique(row).tolist():
        if free[shape]:
            free[column[starts[shape] : starts[shape + 1]]] = False
    return free


def voxels_of(bodies: Star, centres: Numbers, lengths: Floats, padded: tuple[int, ...]) -> Voxels:
    """Those of shapes around `centres[n]`; the centre is always one of them."""
    sizes = np.zeros(len(centres), np.int64)
    lots = []
    for shapes, number, places, _ in _lots(bodies, centres, lengths, padded, 1.0):
        sizes[shapes] = np.bincount(number, minlength=len(shapes))
        lots.append((shapes, places))
    starts = _starts(sizes)
    found = np.empty(starts[-1], np.int32)
    for shapes, places in lots:
        shift = starts[shapes] - _starts(sizes[shapes])[:-1]
        found[np.repeat(shift, sizes[shapes]) + np.arange(len(places))] = places
    return Voxels(starts, found, math.prod(padded))


def painted(
    bodies: Star, centres: Numbers, lengths: Floats, padded: tuple[int, ...], *, beyond: float = 1.0
) -> NDArray[np.int32]:
    """Numbers of the shapes from 1 on, 0 where there is none, up to `beyond` times as far as their boundary.

    A voxel of several is of the one that it lies deepest in, compared with that one's boundary.
    """
    ids = np.zeros(math.prod(padded), np.int32)
    deepest = np.full(len(ids), np.inf, np.float32)
    for shapes, number, places, levels in _lots(bodies, centres, lengths, padded, beyond):
        np.minimum.at(deepest, places, levels)
        best = levels <= deepest[places]
        ids[places[best]] = 1 + shapes[number[best]]
    return ids.reshape(padded)


def _lots(
    bodies: Star, centres: Numbers, lengths: Floats, padded: tuple[int, ...], beyond: float
) -> Iterator[tuple[Numbers, Numbers, NDArray[np.int32], Floats]]:
    """Shapes in lots of about the same size, and their voxels: of which in the lot, places, and levels."""
    strides = np.array([math.prod(padded[axis + 1 :]) for axis in range(len(padded))])
    steps = (bodies.offsets.astype(np.int64) @ strides).astype(np.int32)
    longest = beyond * lengths.max(axis=1, initial=0)
    room = np.searchsorted(bodies.far, longest + EDGE, side="right")
    order = np.argsort(room, kind="stable")
    first, sorted_room = 0, room[order]
    while first < len(order):
        most = sorted_room[first] * ALIKE + 8
        stop = min(
            int(np.searchsorted(sorted_room, most, side="right")), first + max(1, AT_ONCE // int(most))
        )
        shapes = order[first:stop]
        levels = bodies.levels(lengths[shapes], int(sorted_room[stop - 1]))
        number, offset = np.nonzero(levels <= beyond + EDGE)
        places = centres.astype(np.int32)[shapes[number]] + steps[offset]
        yield shapes, number, places, levels[number, offset]
        first = stop


def _starts(sizes: Numbers) -> Numbers:
    """Where each begins, and the last ends."""
    return np.concatenate([[0], np.cumsum(sizes)])
