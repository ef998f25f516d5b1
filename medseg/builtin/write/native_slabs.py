"""An image on another grid than it is written on, read a few slices at a time."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.volume import Grid, Planes, Volume, resampled

__all__ = ["covering", "native_slabs", "written_grid"]

Floats = NDArray[np.float32]
SLAB_VOXELS = 1 << 22  # in float32 16 MiB, and a few times that while they are interpolated
MARGIN = 1  # voxels of the image around a slab, for interpolation


def written_grid(volume: Volume) -> Grid:
    """The original's grid; where its slices have none, the even one that was segmented."""
    native = volume.source.native if volume.source is not None else None
    return volume.grid if native is None or isinstance(native, Planes) else native


def covering(grid: Grid, box: Grid) -> tuple[tuple[slice, slice, slice], Grid] | None:
    """The voxels of `grid` between which those of `box` lie, and their own grid; None if there are none."""
    corners = grid.to_index(box.corners())
    low = np.maximum(0, np.floor(corners.min(axis=0)).astype(int)).tolist()
    high = np.minimum(grid.shape, np.ceil(corners.max(axis=0)).astype(int) + 1).tolist()
    if any(b <= a for a, b in zip(low, high, strict=True)):
        return None
    i, j, k = (slice(a, b) for a, b in zip(low, high, strict=True))
    return (i, j, k), grid.cropped(low, high)


def native_slabs(onto: Grid, read: Callable[[Grid], tuple[Floats, Grid] | None]) -> Iterator[Floats]:
    """Values `[i, j, k]` at the voxels of `onto`, in slabs along k: linear, 0 outside.

    `read(box)` gives the values that cover a box, and their grid; None where there are none.
    """
    thick = max(1, SLAB_VOXELS // (onto.shape[0] * onto.shape[1]))
    for k in range(0, onto.shape[2], thick):
        part = onto.cropped((0, 0, k), (*onto.shape[:2], min(k + thick, onto.shape[2])))
        found = read(part)
        if found is None:
            yield np.zeros(part.shape, np.float32)
        else:
            values, grid = found
            yield resampled(values[None], grid, part, interpolation="linear", fill=0)[0]
