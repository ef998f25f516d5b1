"""Clusters of points by mean shift in cells: from each cell to the fullest around it, until none is fuller.

A cell's height is how many points lie in it and in the cells around, which is what a flat kernel counts; ways
up are those of mean shift (Comaniciu and Meer, IEEE TPAMI 24, 2002, 603-619). Only cells with points are
looked at, so that a space of many dimensions costs no more than what is in it. Which cluster a point is of
follows from the points nearby, wherever they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["modes"]

Numbers = NDArray[np.int64]


def modes(cells: Sequence[Numbers], sizes: Sequence[int], *, reach: Sequence[int]) -> Numbers:
    """Which cluster, from 0 on, each of `n` points is of.

    `cells` are the points' cells along each dimension, `n` whole numbers from 0 to below its size. A
    cluster's peak is higher than all cells within `reach` along each dimension.
    """
    padded = [size + 2 * wide for size, wide in zip(sizes, reach, strict=True)]
    strides = [int(np.prod(padded[axis + 1 :], dtype=np.int64)) for axis in range(len(padded))]
    keys = np.zeros(len(cells[0]), np.int64)
    for at, stride, wide in zip(cells, strides, reach, strict=True):
        keys += (at + wide) * stride
    found, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    near = _around([min(1, wide) for wide in reach], strides)
    height = np.zeros_like(counts)
    for step in near:
        there, place = _looked_up(found, step)
        height[there] += counts[place]
    up = _climbed(found, height, near)
    peaks = np.unique(up)
    joined = _climbed(found[peaks], height[peaks], _around(reach, strides))
    tops, number = np.unique(joined, return_inverse=True)
    of_cell = number[np.searchsorted(peaks, up)] if len(tops) else up
    return np.asarray(of_cell[which], np.int64)


def _around(reach: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Differences of keys to all cells within reach, itself among them."""
    steps = product(*(range(-wide, wide + 1) for wide in reach))
    return [sum(a * b for a, b in zip(step, strides, strict=True)) for step in steps]


def _looked_up(keys: Numbers, step: int) -> tuple[Numbers, Numbers]:
    """The places in the sorted `keys` from which there is a key so far away, and the places of those."""
    wanted = keys + step
    place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    there = np.flatnonzero(keys[place] == wanted)
    return there, place[there]


def _climbed(keys: Numbers, height: Numbers, steps: Sequence[int]) -> Numbers:
    """The places of the peaks that the highest of each step leads to; of those as high, the first one."""
    way, best = np.arange(len(keys)), height.copy()
    for step in steps:
        there, place = _looked_up(keys, step)
        higher = (height[place] > best[there]) | ((height[place] == best[there]) & (place < way[there]))
        best[there[higher]], way[there[higher]] = height[place[higher]], place[higher]
    while not np.array_equal(way[way], way):
        way = way[way]
    return way
