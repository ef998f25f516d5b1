"""Flows: at each voxel of an object the way to its centre, along the slope of heat that spreads from there.

Stringer et al., Cellpose: a generalist algorithm for cellular segmentation, Nature Methods 18, 2021, 100-106.
Heat spreads within the object and is lost at its border, so that ways lead off the border, around corners and
to the centre, and never end elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["flows_of"]

Places = NDArray[np.int64]
Floats = NDArray[np.float32]

SPREAD = 2  # times the steps that heat needs to the farthest voxel: fronts are round by then


def flows_of(ids: NDArray[Any]) -> Floats:
    """`[3, i, j, k]`: a step of length 1, in voxels, along the way to the centre; 0 there and outside.

    The centre is the voxel of the object that is nearest to its median. Each part of an object has one of its
    own: parts are connected by faces, and no way leads across what is between them. `ids[i, j, k]` is 0 where
    there is no object. An axis of one voxel has no flow.
    """
    flows = np.zeros((3, *ids.shape), np.float32)
    parts = _Parts.of(ids)
    if not len(parts.voxels):
        return flows
    centres = parts.centres()
    level = np.log(parts.heated(centres))
    slope = parts.slope(level)
    length = np.sqrt((slope**2).sum(axis=0))
    slope /= np.maximum(length, 1e-12)
    slope[:, centres] = 0
    flows.reshape(3, -1)[parts.axes[:, None], parts.voxels] = slope
    return flows


@dataclass(frozen=True, eq=False)
class _Parts:
    """The `n` voxels of all parts, in the image's order.

    `voxels[n]` are their places in the flat image of `shape`, `part[n]` which part they are of, counted from
    0, and `neighbours[2 * len(axes), n]` the numbers of those before and behind along each of the `axes`: `n`
    where that is not of the same part.
    """

    shape: tuple[int, ...]
    axes: Places
    voxels: Places
    part: Places
    neighbours: NDArray[np.int32]

    @classmethod
    def of(cls, ids: NDArray[Any]) -> _Parts:
        import cc3d

        # a copy, since it takes no array that is read-only
        found = cc3d.connected_components(np.array(ids, order="C"), connectivity=6)
        parts = np.pad(found.astype(np.int32), 1).reshape(-1)  # whatever the image ends at is no part
        padded = [size + 2 for size in ids.shape]
        there = np.flatnonzero(parts)
        number = np.full(len(parts), len(there), np.int32)
        number[there] = np.arange(len(there), dtype=np.int32)
        axes = np.flatnonzero(np.array(ids.shape) > 1)
        neighbours = np.full((2 * len(axes), len(there)), len(there), np.int32)
        strides = (padded[1] * padded[2], padded[2], 1)
        for row, axis in enumerate(axes):
            for side, way in enumerate((-strides[axis], strides[axis])):
                same = parts[there + way] == parts[there]
                neighbours[2 * row + side, same] = number[there[same] + way]
        return cls(ids.shape, axes, np.flatnonzero(found), parts[there].astype(np.int64) - 1, neighbours)

    def centres(self) -> Places:
        """For each part the voxel that is nearest to the medians of its places along each axis."""
        size = np.bincount(self.part)
        first = np.cumsum(size) - size
        away = np.zeros(len(self.part), np.int64)
        for at, length in zip(np.unravel_index(self.voxels, self.shape), self.shape, strict=True):
            in_order = np.sort(self.part * length + at)
            away += (at - (in_order[first + size // 2] % length)[self.part]) ** 2
        # of the nearest the first one, in one number: the distance, and then the place
        nearest = np.sort(self.part * (away.max() + 1) + away)[first] % (away.max() + 1)
        candidates = np.flatnonzero(away == nearest[self.part])
        _, earliest = np.unique(self.part[candidates], return_index=True)
        return candidates[earliest]

    def heated(self, centres: Places) -> NDArray[np.float64]:
        """Heat at each voxel after it has spread from the centres for a while; above 0 everywhere."""
        from scipy.sparse import csr_array

        count, width = len(self.voxels), len(self.neighbours) + 1
        around = np.concatenate([np.arange(count, dtype=np.int32)[None], self.neighbours])
        share = np.full(around.size, 1 / width)
        starts = np.arange(0, around.size + 1, width, dtype=np.int32)
        spread = csr_array((share, around.T.ravel(), starts), shape=(count, count + 1))
        heat = np.zeros(count + 1)  # the last is outside, and cold
        places = np.stack(np.unravel_index(self.voxels, self.shape))
        steps = int(np.abs(places - places[:, centres[self.part]]).sum(axis=0).max()) + 1
        while True:
            for _ in range(SPREAD * steps):
                heat[:-1] = spread @ heat
                heat[centres] += 1
            if heat[:-1].all():  # ways around corners are longer
                return heat[:-1]

    def slope(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """How fast `level` rises along each axis; to one side only where the other is not of the part."""
        slope = np.zeros((len(self.axes), len(level)))
        for row in range(len(self.axes)):
            before, behind = self.neighbours[2 * row : 2 * row + 2]
            outside = len(level)
            low, high = (
                np.where(side < outside, level[np.minimum(side, outside - 1)], level)
                for side in (before, behind)
            )
            known = (before < outside).astype(np.int64) + (behind < outside)
            slope[row] = (high - low) / np.maximum(known, 1)
        return slope
