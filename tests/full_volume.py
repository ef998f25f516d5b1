"""Labels of a sliding window by the plain method, which holds the scores of the whole volume; NumPy only.

What medseg's labels must equal, written without any of its streaming: scores of every channel lie side by
side for the whole volume, are interpolated whole, and decided at once. Only where windows lie and what they
weigh is taken from `Windows`, and the map between the grids from `Grid`.

Two equal methods in floating point do the same operations in the same order, so the rule is part of the
result:

- a voxel's mean follows its windows, in the order of the streaming axis, then of i, j, k, as
  mean += w / W * (score - mean), with W the sum of weights so far, in single precision;
- interpolation is low + share * (high - low), in single precision, along the streaming axis first, then
  along the other two in order;
- of equal scores the first channel's wins; voxels more than half a voxel beyond the outermost centres are
  background.

`dtype` of double gives what exact arithmetic would (all but), by which a single-precision label may differ
only where the best two scores are as close as rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medseg import Grid
from medseg.inference.windows import Windows

__all__ = ["agreed", "decided", "interpolated", "mean_scores"]

Array = NDArray[Any]
EDGE = 0.501  # voxels beyond the outermost centres that still count, as `medseg.inference` says


def mean_scores(
    image: Array, windows: Windows, logits: Callable[[Array], Array], axis: int, dtype: DTypeLike = np.float32
) -> Array:
    """Mean logits `[C, i, j, k]` of an image `[i, j, k]`; `logits` takes `[N, 1, *patch]`.

    Beyond the image a window sees its smallest value.
    """
    weight = windows.importance().astype(dtype)
    starts = [windows.starts(a) for a in range(3)]
    margin = [
        (max(0, -s[0]), max(0, s[-1] + side - n))
        for s, side, n in zip(starts, windows.patch, image.shape, strict=True)
    ]
    padded = np.pad(image, margin, constant_values=image.min())
    mean: Array = np.zeros(0)
    total = np.zeros(padded.shape, dtype)
    for place in sorted(product(*starts), key=lambda place: (place[axis], place)):
        here = tuple(
            slice(p + m[0], p + m[0] + side) for p, m, side in zip(place, margin, windows.patch, strict=True)
        )
        scores = logits(padded[here][None, None])[0].astype(dtype)
        if not mean.size:
            mean = np.zeros((len(scores), *padded.shape), dtype)
        total[here] += weight
        mean[:, *here] += (scores - mean[:, *here]) * (weight / total[here])
    inside = tuple(slice(m[0], m[0] + n) for m, n in zip(margin, image.shape, strict=True))
    return mean[:, *inside]


def interpolated(
    mean: Array, grid: Grid, onto: Grid, axis: int, torn_at: tuple[int, ...] = ()
) -> tuple[Array, NDArray[np.bool_]]:
    """Scores `[C, i, j, k]` on `onto`, and which of its voxels lie inside `grid`; axes are parallel.

    `torn_at` tells slices along `axis` across which nothing is interpolated, as if the slice before were
    forgotten: what a streaming method without its halo would do.
    """
    target = onto.reoriented(grid.axis_codes)
    inside, found = np.ones((1, 1, 1), bool), mean
    for line in _lines(grid, target, axis):
        low = np.where(np.isin(line.high, torn_at), line.high, line.low) if line.axis == axis else line.low
        below = found.take(low, 1 + line.axis)
        share = line.across(line.share.astype(mean.dtype))
        found = below + share * (found.take(line.high, 1 + line.axis) - below)
        inside = inside & line.across(line.inside)
    return _turned(found, target, onto), _turned(inside[None], target, onto)[0]


def agreed(mean: Array, grid: Grid, onto: Grid) -> tuple[Array, NDArray[np.bool_]]:
    """For each voxel of `onto`, the highest channel of a corner of its cell, and whether all eight corners
    agree.

    In exact arithmetic that channel is then the voxel's; in floating point it need not be.
    """
    target = onto.reoriented(grid.axis_codes)
    least = most = mean.argmax(0)[None]
    for line in _lines(grid, target, 0):
        least = np.minimum(least.take(line.low, 1 + line.axis), least.take(line.high, 1 + line.axis))
        most = np.maximum(most.take(line.low, 1 + line.axis), most.take(line.high, 1 + line.axis))
    return _turned(least, target, onto)[0], _turned(least == most, target, onto)[0]


def decided(scores: Array, inside: NDArray[np.bool_]) -> Array:
    """The number of the highest channel, the first of equals; 0 outside."""
    return np.where(inside, scores.argmax(0), 0)


@dataclass(frozen=True)
class _Line:
    """Where the planes of one axis of the target lie: between which two slices, how far from the lower."""

    axis: int
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: NDArray[np.float64]
    inside: NDArray[np.bool_]

    def across(self, values: Array) -> Array:
        """Values along the axis, to be used with arrays `[i, j, k]`."""
        return values.reshape([-1 if axis == self.axis else 1 for axis in range(3)])


def _lines(grid: Grid, target: Grid, first: int) -> list[_Line]:
    """The three axes, the `first` one first."""
    matrix, lines = grid.index_map(target), []
    for axis in sorted(range(3), key=lambda axis: (axis != first, axis)):
        last = grid.shape[axis] - 1
        position = np.arange(target.shape[axis]) * matrix[axis, axis] + matrix[axis, 3]
        inside = (position >= -EDGE) & (position <= last + EDGE)
        position = position.clip(0, last)
        low = np.floor(position).astype(np.intp)
        lines.append(_Line(axis, low, np.minimum(low + 1, last), position - low, inside))
    return lines


def _turned(array: Array, target: Grid, onto: Grid) -> Array:
    """`array[C, ...]` on `target`, whose voxels are those of `onto` in another order, as on `onto`."""
    matrix = np.rint(target.index_map(onto)).astype(int)
    index = np.indices(onto.shape).reshape(3, -1)
    i, j, k = matrix[:3, :3] @ index + matrix[:3, 3:]
    return array[:, i, j, k].reshape(-1, *onto.shape)
