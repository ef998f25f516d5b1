"""Which voxels of the model grid a slab brings for the first time: halos and seams of blocks come twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.inference.windows import Region
from medseg.prediction import Scores
from medseg.volume import Grid

__all__ = ["MOST_VALUES", "Coverage"]

MOST_VALUES = 1 << 20  # scores at work at once: with what is computed from them, about a processor's cache


class Coverage:
    """Keeps count of what came of `grid`, in slabs along `axis` and in blocks of the plane across it.

    The blocks' regions do not overlap; a slab may reach beyond its block's region, and begin before where the
    last one ended.
    """

    def __init__(self, grid: Grid, axis: int) -> None:
        self.grid = grid
        self.axis = axis
        self.begin((slice(None), slice(None), slice(None)))

    def begin(self, region: Region) -> None:
        """Say that the slabs of another block follow, which answers for `region` of the grid."""
        self._region = [
            slice(*part.indices(size)[:2]) for part, size in zip(region, self.grid.shape, strict=True)
        ]
        self._next = self._region[self.axis].start

    def pieces(self, slab: Scores, start: int) -> Iterator[tuple[Region, NDArray[np.float32]]]:
        """Where what is new in a slab lies, and its scores `[C, i, j, k]`, in pieces of one slice or less.

        One at a time, so that what is computed from them stays small: `MOST_VALUES`, or one row of voxels.
        """
        array = np.asarray(slab.array)
        low = np.rint(self.grid.to_index(slab.grid.affine[:3, 3])).astype(int).tolist()
        low[self.axis] = start
        stop = min(start + array.shape[1 + self.axis], self._region[self.axis].stop)
        here = [
            slice(max(own.start, at), min(own.stop, at + size))
            for own, at, size in zip(self._region, low, array.shape[1:], strict=True)
        ]
        row, column = (axis for axis in range(3) if axis != self.axis)
        rows = here[row]
        thick = max(1, MOST_VALUES // (len(array) * (here[column].stop - here[column].start)))
        for n in range(max(self._next, start), stop):
            here[self.axis] = slice(n, n + 1)
            for first in range(rows.start, rows.stop, thick):
                here[row] = slice(first, min(first + thick, rows.stop))
                inside = tuple(slice(p.start - at, p.stop - at) for p, at in zip(here, low, strict=True))
                yield (here[0], here[1], here[2]), array[(slice(None), *inside)]
            self._next = n + 1
