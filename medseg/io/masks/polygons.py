"""Polygons to pixels: a pixel is in where its centre is inside the polygon or on its border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError

__all__ = ["inside"]

MOST_WORK = 1e10  # points times pixels of the polygon's box, some 10 s; 3000 points around a slice are 8e8


def inside(points: NDArray[np.float64], shape: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """Which pixel centres of a picture `shape` a polygon `[n, 2]` holds, its border included."""
    from skimage.draw import polygon

    low = np.maximum(np.ceil(points.min(axis=0)), 0)
    high = np.minimum(np.floor(points.max(axis=0)), np.asarray(shape) - 1)
    if len(points) * float(np.prod(np.maximum(high - low + 1, 0))) > MOST_WORK:
        raise InputError(f"{name}: a contour of {len(points)} points is too much to be filled; damaged")
    canvas = np.zeros(shape, bool)
    canvas[polygon(points[:, 0], points[:, 1], shape)] = True
    return canvas
