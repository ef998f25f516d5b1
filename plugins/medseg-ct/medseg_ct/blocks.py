"""The image as means of small blocks, and decisions made on blocks carried back to the voxels.

Shape decisions (what is body, cavity, lung) need no sub-millimetre voxels: they are taken on blocks of about
`BLOCK_MM`, which also averages noise away, and the voxels themselves are then told apart by their own value.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import Spacing

__all__ = ["Blocks"]

BLOCK_MM = 2.0
AIR = -1024.0  # HU; scanners pad outside the field of view with values far below that of air


@dataclass(frozen=True)
class Blocks:
    """How voxels are gathered: `factors` voxels a block along i, j, k, `shape` of the image in voxels."""

    factors: tuple[int, int, int]
    shape: tuple[int, int, int]
    spacing: Spacing

    @classmethod
    def of(cls, shape: tuple[int, int, int], spacing: Spacing) -> "Blocks":
        """Blocks as near to cubes of `BLOCK_MM` as whole voxels allow; one voxel where voxels are larger."""
        i, j, k = (max(1, min(n, round(BLOCK_MM / s))) for n, s in zip(shape, spacing, strict=True))
        return cls((i, j, k), shape, (spacing[0] * i, spacing[1] * j, spacing[2] * k))

    @property
    def count(self) -> tuple[int, int, int]:
        """The number of blocks along i, j, k; the last may hang over the edge of the image."""
        i, j, k = (-(-n // f) for n, f in zip(self.shape, self.factors, strict=True))
        return (i, j, k)

    def means(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Mean of each block of `image` [i, j, k] in HU, from -1024 up; edge voxels are repeated outwards."""
        found = np.empty(self.count, np.float32)
        f = self.factors
        for k in range(found.shape[2]):
            slab = image[:, :, k * f[2] : (k + 1) * f[2]]
            short = [n * m - s for n, m, s in zip(found.shape, f, slab.shape, strict=False)]
            short[2] = f[2] - slab.shape[2]
            slab = np.pad(slab, [(0, n) for n in short], mode="edge")
            slab = np.clip(slab, AIR, None, dtype=np.float32)
            parts = slab.reshape(found.shape[0], f[0], found.shape[1], f[1], 1, f[2])
            found[:, :, k] = parts.mean(axis=(1, 3, 5))[:, :, 0]
        return found

    def spread(self, blocks: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Block values repeated on their voxels, for voxel slices `start` to `stop` along k."""
        chosen = blocks[:, :, np.arange(start, stop) // self.factors[2]]
        wide = chosen.repeat(self.factors[0], axis=0).repeat(self.factors[1], axis=1)
        return wide[: self.shape[0], : self.shape[1]]
