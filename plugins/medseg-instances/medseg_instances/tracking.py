"""Objects from flows: every voxel goes along them, and those that end at one place are one object.

The first steps are Euler's, with flows interpolated linearly between voxels. Where they lead is then the way
of every voxel that they end at too, so that each doubling takes all of them twice as far: thousands of steps
cost little more than the first. Places are counted from each voxel itself, and so the same whichever block of
an image is looked at.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["clustered", "tracked"]

Places = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Pairs = NDArray[np.complex64]

STEPS = 4  # of Euler's, before ways are joined: a joint rounds to voxels
DOUBLINGS = 8  # 4 x 511 steps: around any corner of objects of a few hundred voxels
AT_ONCE = 1 << 16  # voxels, so that what is made of them stays in a processor's cache


def tracked(flows: Floats, inside: Mask) -> tuple[Places, Places]:
    """The voxels `inside` by their places in the flat image, and the places that `flows[3, i, j, k]` lead to.

    A step is as long as the flow, 1 voxel at most. There is no flow outside, and no step leads there.
    """
    axes = [axis for axis in range(3) if inside.shape[axis] > 1]
    places = np.flatnonzero(inside)
    within = np.pad(inside, 1)
    strides = [within.strides[axis] for axis in axes]  # of one byte each
    within = within.reshape(-1)
    start = np.flatnonzero(within)
    field = np.zeros(((len(axes) + 1) // 2, within.size), np.complex64)
    field[:, start] = _paired(_at_most_one(np.stack([flows[axis].reshape(-1)[places] for axis in axes])))
    number = np.zeros(within.size, np.int32)  # a block has fewer voxels than that can count
    number[start] = np.arange(len(start), dtype=np.int32)
    way = np.zeros(len(start), np.int32)
    for at in range(0, len(start), AT_ONCE):
        way[at : at + AT_ONCE] = number[_stepped(field, within, start[at : at + AT_ONCE], strides)]
    return places, places[_followed(way)]


def _at_most_one(flows: Floats) -> Floats:
    """Flows `[axes, n]`, of length 1 where they are longer."""
    length = np.sqrt(np.square(flows).sum(axis=0))
    return np.asarray(flows / np.maximum(length, 1), np.float32)


def _paired(flows: Floats) -> Pairs:
    """Flows `[axes, n]` two by two as complex numbers, which are looked up in half of the time."""
    zero = np.zeros_like(flows[0])
    padded = [*flows, zero][: 2 * ((len(flows) + 1) // 2)]
    return np.stack([padded[n] + 1j * padded[n + 1] for n in range(0, len(padded), 2)]).astype(np.complex64)


def _stepped(field: Pairs, within: Mask, start: Places, strides: list[int]) -> Places:
    """The voxels in the flat, padded image that are nearest to where so many steps from `start` end."""
    off, here = np.zeros((len(strides), len(start)), np.float32), start
    for step in range(STEPS):
        flows = _interpolated(field, start, off, strides) if step else field[:, start]
        moved = off + _unpaired(flows, len(strides))
        there = _moved(start, np.rint(moved), strides)
        stays = np.flatnonzero(~within[there])
        moved[:, stays], there[stays] = off[:, stays], here[stays]
        off, here = moved, there
    return here


def _unpaired(flows: Pairs, axes: int) -> Floats:
    """Flows `[axes, n]` again."""
    return np.stack([part for row in flows for part in (row.real, row.imag)][:axes])


def _interpolated(field: Pairs, start: Places, off: Floats, strides: list[int]) -> Pairs:
    """Flows at the places `off[axes, n]` away from the voxels `start`."""
    whole = np.floor(off)
    part = off - whole
    low = _moved(start, whole, strides)
    found = np.zeros((len(field), len(start)), np.complex64)
    for corner in product((0, 1), repeat=len(strides)):
        weight = np.ones(len(start), np.float32)
        for side, share in zip(corner, part, strict=True):
            weight *= share if side else 1 - share
        at = low + int(np.dot(strides, corner))
        for row, pair in enumerate(field):
            found[row] += weight * pair[at]
    return found


def _moved(start: Places, whole: Floats, strides: list[int]) -> Places:
    """Places in the flat image, so many whole voxels away along each axis."""
    there = start.copy()
    for stride, way in zip(strides, whole, strict=True):
        there += stride * way.astype(np.int64)
    return there


def _followed(way: NDArray[np.int32]) -> NDArray[np.int32]:
    """Where one comes from each number by going on to `way[number]` for thousands of times.

    What nothing leads to is of no further interest: each doubling is of fewer numbers than the one before.
    """
    maps = [way]
    names = [np.arange(len(way), dtype=np.int32)]
    for _ in range(DOUBLINGS):
        reached = np.flatnonzero(np.bincount(way, minlength=len(way)))
        if len(reached) == len(way):
            break
        rank = np.zeros(len(way), np.int32)
        rank[reached] = np.arange(len(reached), dtype=np.int32)
        maps[-1] = rank[way]
        way = rank[way[reached]]
        way = way[way]
        maps.append(way)
        names.append(names[-1][reached])
    found = names[-1][maps[-1]]
    for earlier in reversed(maps[:-1]):
        found = found[earlier]
    return found


def clustered(ends: Places, shape: tuple[int, ...], *, reach: int) -> tuple[Places, Places]:
    """Which sink each of the places `ends` in the flat image leads to, from 0 on, and the sinks' places.

    How many end in and around a voxel makes hills. From each place one goes to the highest that lies within
    `reach` voxels along each axis, until none is higher: that is a sink. They are in the image's order.
    """
    widths = [reach if size > 1 else 0 for size in shape]
    counts = np.bincount(ends, minlength=int(np.prod(shape))).reshape(shape)
    counts = np.pad(counts, [(width, width) for width in widths])
    strides = [stride // counts.itemsize for stride in counts.strides]
    flat = counts.reshape(-1)
    occupied = np.flatnonzero(flat)
    height = np.zeros_like(flat)
    for offset in _around([min(width, 1) for width in widths], strides):
        height[occupied] += flat[occupied + offset]
    best, way = height[occupied], occupied.copy()
    for offset in _around(widths, strides):
        at = occupied + offset
        there = height[at]
        higher = (there > best) | ((there == best) & (there > 0) & (at < way))
        best[higher], way[higher] = there[higher], at[higher]
    number = np.zeros(flat.size, np.int32)
    number[occupied] = np.arange(len(occupied), dtype=np.int32)
    up = number[way]
    while not np.array_equal(up[up], up):
        up = up[up]
    sinks, which = np.unique(up, return_inverse=True)
    inner = tuple(slice(width, width + size) for width, size in zip(widths, shape, strict=True))
    of_place = number.reshape(counts.shape)[inner].reshape(-1)
    places = np.flatnonzero(counts[inner])
    return which[of_place[ends]], places[sinks]


def _around(widths: list[int], strides: list[int]) -> list[int]:
    """Steps in the flat array to all within a box, itself among them."""
    steps = product(*(range(-width, width + 1) for width in widths))
    return [sum(a * b for a, b in zip(step, strides, strict=True)) for step in steps]
