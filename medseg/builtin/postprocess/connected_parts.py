"""The connected parts of a mask and how large they are."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Connectivity", "connected_parts"]

CHUNK_VOXELS = 1 << 22
Connectivity = Literal[6, 18, 26]


def connected_parts(
    mask: NDArray[np.bool_], connectivity: Connectivity
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number the connected parts of `mask[i, j, k]`.

    Returns their numbers `[i, j, k]`, 0 outside, and the count of voxels of each number; entry 0 is 0.
    """
    import cc3d

    numbers, highest = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    flat = numbers.reshape(-1)
    sizes = np.zeros(highest + 1, np.int64)
    for start in range(0, flat.size, CHUNK_VOXELS):  # bincount makes int64 of all it is given
        sizes += np.bincount(flat[start : start + CHUNK_VOXELS], minlength=highest + 1)
    sizes[0] = 0
    return numbers, sizes
