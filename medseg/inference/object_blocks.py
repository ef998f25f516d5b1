"""How an image is cut into blocks in which objects are decoded: no larger than memory allows, and few.

Each block has a core, and a margin around it that it shares with its neighbours. Voxels in margins are
decoded again by every block that sees them, so blocks are as large as they may be, all about the same size,
and fewest along the axes where that costs least.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from medseg.inference.refining import Part
from medseg.volume import Grid

__all__ = ["Blocks"]

MOST_COUNT = 64  # blocks along an axis
MOST_VISITS = 16  # a margin that lets each voxel be decoded more often is made narrower
LEAST_VOXELS = 1 << 18  # what is that small is not cut further
LEAST_MARGINS = 2.5  # nor what is that narrow, in margins


@dataclass(frozen=True)
class Blocks:
    """`counts` of blocks along i, j, k, which are read with so many voxels of `margin` on each side.

    None has more than `most` voxels, its margin included.
    """

    grid: Grid
    counts: tuple[int, int, int]
    margin: int
    most: int

    @classmethod
    def of(cls, grid: Grid, *, margin: int, most: int) -> Blocks:
        """Blocks of about `most` voxels at most, by which each voxel is decoded as rarely as possible.

        The margin is narrower than asked for where blocks could not be larger than it.
        """
        narrow = math.prod(min(size, math.ceil(LEAST_MARGINS * margin)) for size in grid.shape)
        most = max(most, min(LEAST_VOXELS, narrow))
        while True:
            found = cls(grid, _fewest(grid.shape, margin, most), margin, most)
            if margin <= 1 or (found.largest <= most and found.visits <= MOST_VISITS):
                return cls(grid, found.counts, margin, max(most, found.largest))
            margin = max(1, margin * 3 // 4)

    @property
    def widest(self) -> tuple[int, int, int]:
        """The sides of the largest block with its margin."""
        i, j, k = (
            int(_width(size, np.array(count), self.margin))
            for size, count in zip(self.grid.shape, self.counts, strict=True)
        )
        return i, j, k

    @property
    def largest(self) -> int:
        """Voxels of the largest block with its margin."""
        return math.prod(self.widest)

    @property
    def visits(self) -> float:
        """How often a voxel is decoded in the mean, at most."""
        return math.prod(
            1 + 2 * self.margin * (count - 1) / size
            for size, count in zip(self.grid.shape, self.counts, strict=True)
        )

    def cores(self) -> Iterator[Part]:
        """Blocks without their margins, which cover the grid, each voxel once."""
        ways = [
            list(pairwise(self._borders(size, count)))
            for size, count in zip(self.grid.shape, self.counts, strict=True)
        ]
        for i, j, k in product(*ways):
            yield Part((i[0], j[0], k[0]), (i[1], j[1], k[1]))

    def around(self, core: Part) -> Part:
        """A core with its margin."""
        return core.grown((self.margin,) * 3, self.grid)

    def _borders(self, size: int, count: int) -> list[int]:
        """Where cores begin, and the end. The outer ones have a margin on one side only, and are larger."""
        wide = int(_width(size, np.array(count), self.margin))
        inner = range(wide - self.margin, size, max(1, wide - 2 * self.margin))
        return [0, *(inner[: count - 1] if count > 1 else ()), size]


def _width(size: int, count: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """Of the widest of so many blocks along an axis."""
    return -(-(size + 2 * margin * (count - 1)) // count)


def _fewest(shape: tuple[int, int, int], margin: int, most: int) -> tuple[int, int, int]:
    """The numbers of blocks along each axis with which voxels are decoded most rarely.

    Of blocks that fit; where none does, of the smallest.
    """
    wide, visits = np.ones((1, 1, 1)), np.ones((1, 1, 1))
    for axis, size in enumerate(shape):
        count = np.arange(1, min(MOST_COUNT, size) + 1)
        width = _width(size, count, margin)
        cuts = (count == 1) | ((width < size) & (width > 2 * margin))
        along = tuple(-1 if other == axis else 1 for other in range(3))
        wide = wide * np.where(cuts, width, np.inf).reshape(along)
        visits = visits * (1 + 2 * margin * (count - 1) / size).reshape(along)
    fits = wide <= most
    worth = np.where(fits, visits, np.inf) if fits.any() else wide
    i, j, k = (int(place) + 1 for place in np.unravel_index(int(np.argmin(worth)), worth.shape))
    return i, j, k
