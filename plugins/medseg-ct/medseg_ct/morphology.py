"""Masks grown, shrunk and split by distances in millimetres (exact Euclidean), not by voxel counts.

The faces of the image are not borders of a mask: what is cut by the field of view goes on beyond it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.components import components as numbered

__all__ = [
    "Mask",
    "Spacing",
    "closed",
    "components",
    "depth",
    "dilated",
    "eroded",
    "in_plane",
    "opened",
    "slice_components",
]

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

APART = 1e5  # mm; slices so far apart do not see each other, which makes a 3-D transform one of each slice


def in_plane(spacing: Spacing) -> Spacing:
    """The spacing under which each axial slice stands alone."""
    return (spacing[0], spacing[1], APART)


def depth(mask: Mask, spacing: Spacing) -> NDArray[np.float32]:
    """Distance in mm from each voxel of `mask` [i, j, k] to the nearest centre outside it; 0 outside."""
    import edt

    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    found: NDArray[np.float32] = edt.edt(
        np.ascontiguousarray(mask), anisotropy=spacing, black_border=False, parallel=1
    )
    return found


def dilated(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """All voxels within `mm` of the mask."""
    if not mask.any():
        return mask.copy()
    return np.asarray(depth(~mask, spacing) <= mm)


def eroded(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """The voxels of the mask further than `mm` from its outside."""
    return np.asarray(depth(mask, spacing) > mm)


def opened(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """The part of the mask that a ball of radius `mm` can reach without leaving it."""
    return dilated(eroded(mask, mm, spacing), mm, spacing) & mask


def closed(mask: Mask, mm: float, spacing: Spacing) -> Mask:
    """The mask and the gaps that a ball of radius `mm` cannot enter from outside."""
    return eroded(dilated(mask, mm, spacing), mm, spacing) | mask


def components(mask: Mask) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """26-connected components, numbered from 1, and the voxel count of each (0 at index 0)."""
    found, n = numbered(np.ascontiguousarray(mask), 26)
    counts = np.bincount(found.ravel(), minlength=n + 1)
    counts[0] = 0
    return found, counts


def slice_components(mask: Mask) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """As `components`, but each axial slice by itself (8-connected)."""
    import cc3d

    found = np.zeros(mask.shape, np.uint32)
    last = 0
    for k in range(mask.shape[2]):
        here, n = cc3d.connected_components(
            np.ascontiguousarray(mask[:, :, k]), connectivity=8, return_N=True
        )
        found[:, :, k] = np.where(here > 0, here + np.uint32(last), 0)
        last += n
    counts = np.bincount(found.ravel(), minlength=last + 1)
    counts[0] = 0
    return found, counts
