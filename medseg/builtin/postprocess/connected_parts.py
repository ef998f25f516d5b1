"""The connected parts of a mask and how large they are."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Connectivity", "connected_parts"]

Connectivity = Literal[6, 18, 26]


def connected_parts(
    mask: NDArray[np.bool_], connectivity: Connectivity
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number the connected parts of `mask[i, j, k]`.

    Returns their numbers `[i, j, k]`, 0 outside, and the count of voxels of each number; entry 0 is 0.
    """
    import cc3d

    numbers, highest = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    sizes = np.bincount(numbers.ravel(), minlength=highest + 1)
    sizes[0] = 0
    return numbers, sizes
