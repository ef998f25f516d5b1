"""The smallest box around the voxels of a mask, and how many voxels make a margin about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.volume import Grid

__all__ = ["Box", "extent", "margin_voxels"]

Box = tuple[slice, slice, slice]
"""From the first to behind the last voxel along i, j, k."""

ROUNDING = 1e-3  # voxels; less is rounding of the affine, not margin


def extent(mask: NDArray[Any]) -> Box | None:
    """The smallest box around what is not 0 in `mask[i, j, k]`; None where nothing is."""
    box = []
    for others in ((1, 2), (0, 2), (0, 1)):
        where = np.flatnonzero(np.any(mask, axis=others))
        if len(where) == 0:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return box[0], box[1], box[2]


def margin_voxels(grid: Grid, margin: float) -> tuple[int, int, int]:
    """How many voxels along i, j, k make a margin in the grid's unit.

    The margin is square to the faces of the box: where axes lean, as in a tilted CT, a step along one goes
    less far from the face than it is long.
    """
    per_unit = np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]), axis=1)
    i, j, k = np.ceil(margin * per_unit - ROUNDING).astype(int).clip(min=0).tolist()
    return i, j, k
