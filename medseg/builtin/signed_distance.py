"""How deep voxels lie inside a mask, and how far outside: a field whose zero is the outline."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["signed_distance", "smoothed_distance"]

TRUNCATE = 3.0  # standard deviations of a Gaussian beyond which it is taken for 0


def signed_distance(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Distance in mm to the nearest voxel centre on the other side of the outline: positive inside.

    `mask[i, j, k]` must hold voxels of both kinds. Beyond its border nothing is known, so nothing counts.
    """
    import edt

    inside = np.ascontiguousarray(mask)
    field: NDArray[Any] = edt.edt(inside, anisotropy=tuple(spacing), black_border=False)
    field -= edt.edt(~inside, anisotropy=tuple(spacing), black_border=False)
    return np.asarray(field, np.float32)


def smoothed_distance(
    mask: NDArray[np.bool_], spacing: Sequence[float], sigma: Sequence[float]
) -> NDArray[np.float32]:
    """The signed distance of `mask[i, j, k]` after a Gaussian of `sigma` voxels along each axis."""
    from scipy.ndimage import gaussian_filter

    field = signed_distance(mask, spacing)
    gaussian_filter(field, sigma, mode="nearest", truncate=TRUNCATE, output=field)
    return field
