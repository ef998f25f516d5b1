"""The box around a mask, and margins in voxels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.volume import Grid

__all__ = ["bounding_box", "margin_voxels"]


def bounding_box(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 index along i, j, k of a mask that is not empty."""
    occupied: list[NDArray[Any]] = [
        np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)
    ]
    return np.array([line[0] for line in occupied]), np.array([line[-1] + 1 for line in occupied])


def margin_voxels(grid: Grid, margin_mm: float, *, step: str) -> NDArray[np.int64]:
    """How many voxels along i, j, k make a margin, square to the faces so that it holds under shear.

    Raises GeometryError for a margin in a grid of pixels: `step` names the component in the message.
    """
    if margin_mm == 0:
        return np.zeros(3, np.int64)
    grid.require_mm(f"{step}'s margin_mm")
    per_mm = np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]), axis=1)
    # less than a thousandth of a voxel is rounding of the affine, not margin
    return np.asarray(np.ceil(margin_mm * per_mm - 1e-3), np.int64)
