"""Closed contours around a mask, along the edges of its voxels; and back.

Traced on edges, contours enclose the area of the voxels exactly. Through voxel centres, as many programs
draw them, they would lose half a voxel all around: 2 to 7 % of an organ's volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

__all__ = ["filled", "traced"]


def traced(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed contours `[n, 2]` around a mask `[i, j]`, in corners: (a, b) lies at index a - 1/2, b - 1/2.

    Only corners where a contour turns are in it. Each contour is simple: it passes no corner twice. Two may
    share a corner, never an edge. A hole is a contour of its own, behind the one that it lies in: what is
    inside an odd number of contours is inside the mask.
    """
    places, rows, columns = _turns(mask)
    partner_along_i, partner_along_j = rows.tolist(), columns.tolist()
    corners = places.tolist()
    seen = bytearray(len(corners))
    contours = []
    for start in range(len(corners)):
        if seen[start]:
            continue
        path: list[int] = []
        at = start
        while not seen[at]:
            other = partner_along_j[at]
            seen[at] = seen[other] = 1
            path += (at, other)
            at = partner_along_i[other]
        contours += _simple([corners[turn] for turn in path])
    ends = np.cumsum([len(contour) for contour in contours])[:-1]
    flat = np.fromiter(chain.from_iterable(contours), np.int64)
    return np.split(np.column_stack(np.divmod(flat, mask.shape[1] + 1)), ends) if contours else []


def _turns(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where contours turn, as flat corners in C order, and which turn each is joined to along i and along j.

    A corner with one or three voxels of the mask around it is a turn. One with two, diagonally, is two: each
    goes around one of the voxels. Along a line of corners, turns then are the ends of runs of edges: the
    first with the second, the third with the fourth, and so on.
    """
    padded = np.pad(mask, 1)
    low, high = padded[:-1], padded[1:]
    around = low[:, :-1].astype(np.uint8) + low[:, 1:] + high[:, :-1] + high[:, 1:]
    falling = (around == 2) & (low[:, :-1] == high[:, 1:])  # voxels at (-, -) and (+, +) of the corner
    rising = falling & ~low[:, :-1]  # or at (-, +) and (+, -)
    falling &= low[:, :-1]
    twice = np.flatnonzero(falling | rising)
    places = np.concatenate([np.flatnonzero(around % 2), twice, twice])
    # Of the two turns at a corner, which ends the run that comes from lower j, and which that from lower i.
    later_j = np.zeros(len(places), np.int64)
    later_j[len(places) - len(twice) :] = 1
    later_i = later_j.copy()
    swapped = np.flatnonzero(rising.reshape(-1)[twice])
    both = len(places) - 2 * len(twice)
    later_i[both + swapped], later_i[both + len(twice) + swapped] = 1, 0
    order = np.argsort(places, kind="stable")
    places, later_i, later_j = places[order], later_i[order], later_j[order]
    a, b = np.divmod(places, mask.shape[1] + 1)
    return places, _pairs(np.lexsort((later_i, a, b))), _pairs(np.lexsort((later_j, b, a)))


def _pairs(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each item the other of its pair, where pairs are neighbours in this order."""
    partner = np.empty(len(order), np.int64)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner


def _simple(path: list[int]) -> list[list[int]]:
    """A closed path, cut where it passes a corner again into paths that pass none twice; the outer first."""
    if len(set(path)) == len(path):
        return [path]
    found: list[list[int]] = []
    open_path: list[int] = []
    where: dict[int, int] = {}
    for corner in path:
        if corner in where:
            start = where[corner]
            loop = open_path[start:]
            del open_path[start:]
            for left in loop:
                del where[left]
            found.append(loop)
        where[corner] = len(open_path)
        open_path.append(corner)
    return sorted([open_path, *found], key=min)


def filled(contours: Iterable[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which voxel centres of a slice lie in an odd number of contours `[n, 2]`, given in voxel indices.

    By scan lines: each edge that crosses a line of centres changes inside to outside for all that lies
    behind it. A way of its own, so that it can judge what `traced` has traced, and any other contours.
    """
    closed = [(points, np.roll(points, -1, axis=0)) for points in contours]
    changes = np.zeros((shape[0], shape[1] + 1), bool)
    if closed:
        start, end = (np.concatenate(side) for side in zip(*closed, strict=True))
        upper, lower = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
        # half open, so that a line through a corner is crossed once
        first, stop = (np.clip(np.ceil(side), 0, shape[0]).astype(np.int64) for side in (upper, lower))
        count = stop - first
        edge = np.repeat(np.arange(len(start)), count)
        line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        part = (line - start[edge, 0]) / (end[edge, 0] - start[edge, 0])
        crossing = start[edge, 1] + part * (end[edge, 1] - start[edge, 1])
        column = np.clip(np.ceil(crossing), 0, shape[1]).astype(np.int64)
        times = np.bincount(line * changes.shape[1] + column, minlength=changes.size)
        changes = (times % 2 > 0).reshape(changes.shape)
    return np.asarray(np.logical_xor.accumulate(changes, axis=1)[:, :-1])
