"""Which voxels of the model grid a slab brings for the first time: halos and seams of blocks come twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.inference.windows import Region
from medseg.prediction import Scores
from medseg.volume import Grid

__all__ = ["Coverage"]


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

    def planes(self, slab: Scores, start: int) -> Iterator[tuple[Region, NDArray[np.float32]]]:
        """Where each new plane of a slab lies, and its scores `[C, i, j, k]`: one voxel thick along the axis.

        One at a time, so that what is computed from them stays small.
        """
        array = np.asarray(slab.array)
        low = np.rint(self.grid.to_index(slab.grid.affine[:3, 3])).astype(int)
        low[self.axis] = start
        stop = min(start + array.shape[1 + self.axis], self._region[self.axis].stop)
        here = [
            slice(max(own.start, at), min(own.stop, at + size))
            for own, at, size in zip(self._region, low.tolist(), array.shape[1:], strict=True)
        ]
        for n in range(max(self._next, start), stop):
            here[self.axis] = slice(n, n + 1)
            inside = tuple(
                slice(part.start - at, part.stop - at) for part, at in zip(here, low.tolist(), strict=True)
            )
            self._next = n + 1
            yield (here[0], here[1], here[2]), array[(slice(None), *inside)]
