"""Where the windows of a sliding window lie, and how much each of their voxels counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError

__all__ = ["Blend", "Place", "Region", "Windows"]

Blend = Literal["gaussian", "constant"]
Place = tuple[int, int, int]
Region = tuple[slice, slice, slice]
SIGMA = (
    0.125  # nnU-Net's width of the Gaussian, as a fraction of the patch (Nature Methods 18, 2021, 203-211)
)


@dataclass(frozen=True)
class Windows:
    """Windows of `patch` voxels over an image of `shape`, both along i, j, k, overlapping by a fraction.

    They are spread evenly, overlap by `overlap` or a little more, and reach from face to face. Along an axis
    shorter than the patch there is one window, which stands out on both sides.

        >>> Windows(shape=(10, 4, 3), patch=(4, 4, 5), overlap=0.5).starts(0)
        (0, 2, 4, 6)
    """

    shape: tuple[int, int, int]
    patch: tuple[int, int, int]
    overlap: float = 0.5
    blend: Blend = "gaussian"

    def __post_init__(self) -> None:
        if min(self.patch) < 1:
            raise UsageError(f"a patch has at least one voxel along each axis, not {self.patch}")
        if not 0 <= self.overlap < 1:
            raise UsageError(f"windows overlap by 0 or more and less than 1 of the patch, not {self.overlap}")

    def __len__(self) -> int:
        return math.prod(len(self.starts(axis)) for axis in range(3))

    def starts(self, axis: int) -> tuple[int, ...]:
        """First voxel of each window along an axis, in order; negative where the window stands out."""
        size, patch = self.shape[axis], self.patch[axis]
        if size <= patch:
            return (-((patch - size) // 2),)
        steps = math.ceil((size - patch) / max(1, math.floor(patch * (1 - self.overlap))))
        return tuple(round(n * (size - patch) / steps) for n in range(steps + 1))

    def slab(self, axis: int, *, blocks: int = 1, halo: int = 0) -> tuple[int, int, int]:
        """Voxels that must be held at once where windows are visited in order along an axis.

        The most that any of the `blocks` needs, `halo` voxels before it included.
        """
        size = list(self.shape)
        size[axis] = min(self.patch[axis] + halo, self.shape[axis])
        if blocks > 1:
            cuts = [region[self.across] for region in self.regions(blocks)]
            size[self.across] = max(cut.stop - max(0, cut.start - halo) for cut in cuts)
        i, j, k = size
        return i, j, k

    @property
    def axis(self) -> int:
        """The axis along which the slab is smallest; the first of those that are equal."""
        return min(range(3), key=lambda axis: math.prod(self.slab(axis)))

    @property
    def across(self) -> int:
        """The axis that is cut where the volume is done in blocks: the longer one besides `axis`."""
        return max((axis for axis in range(3) if axis != self.axis), key=lambda axis: self.shape[axis])

    def regions(self, blocks: int) -> tuple[Region, ...]:
        """The volume in so many blocks side by side along `across`, each voxel in one; raises UsageError."""
        size = self.shape[self.across]
        if not 1 <= blocks <= size:
            raise UsageError(f"{size} voxels can be cut into 1 to {size} blocks, not {blocks}")
        ends = [round(n * size / blocks) for n in range(blocks + 1)]
        regions = []
        for low, high in pairwise(ends):
            i, j, k = (
                slice(low, high) if a == self.across else slice(0, n) for a, n in enumerate(self.shape)
            )
            regions.append((i, j, k))
        return tuple(regions)

    def places(self, region: Region, *, halo: int = 0) -> Iterator[Place]:
        """Where the windows start that touch a region or the `halo` voxels before it.

        In order along `axis`, then i, j, k: whatever the region, a voxel meets its windows in one order.
        """
        lines = self._touching(region, halo)
        for start in lines[self.axis]:
            i, j, k = ([start] if a == self.axis else line for a, line in enumerate(lines))
            yield from product(i, j, k)

    def evaluations(self, *, blocks: int = 1, halo: int = 0) -> int:
        """How many windows the network is given: at the seams of blocks some come twice."""
        return sum(math.prod(map(len, self._touching(region, halo))) for region in self.regions(blocks))

    def _touching(self, region: Region, halo: int) -> list[list[int]]:
        """The starts along each axis of the windows that touch a region or the `halo` voxels before it."""
        return [
            [s for s in self.starts(a) if s < part.stop and s + self.patch[a] > part.start - halo]
            for a, part in enumerate(region)
        ]

    def importance(self) -> NDArray[np.float32]:
        """How much each voxel of a window counts, 1 in the middle, as an array of the patch's shape.

        A network sees less around a voxel near its window's border, so with "gaussian" blending that voxel
        counts less. A voxel's weights in any two windows that differ along one axis are to each other as
        along that axis alone, in the corners of the volume too: for that there is no floor. The smallest
        weight is exp(-24), as a face is at most 4 standard deviations away. The array is read-only.
        """
        return _importance(self.patch, self.blend)


@lru_cache(maxsize=2)  # the same for every image that a model is used for
def _importance(patch: tuple[int, int, int], blend: Blend) -> NDArray[np.float32]:
    if blend == "constant":
        full = np.ones(patch)
    else:
        lines = []
        for size in patch:
            offset = (np.arange(size) - (size - 1) / 2) / (SIGMA * size)
            lines.append(np.exp(-0.5 * offset**2))
        full = reduce(np.multiply.outer, lines)
    weights = np.asarray(full / full.max(), np.float32)
    weights.setflags(write=False)
    return weights
