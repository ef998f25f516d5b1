"""Connected components of arrays of labels, by cc3d."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Connectivity", "components"]

Connectivity = Literal[6, 18, 26]
SMALL = 1 << 22  # voxels, of which a copy is cheap


def components(layer: NDArray[Any], connectivity: Connectivity) -> tuple[NDArray[Any], int]:
    """Number the connected components of every value of `layer[i, j, k]` but 0, and count them.

    Numbers are from 1 on, 0 outside, in the order in memory that the layer has. Neighbours share a face (6),
    an edge (18) or a corner (26).
    """
    import cc3d

    if not (layer.flags.c_contiguous or layer.flags.f_contiguous):
        layer = np.ascontiguousarray(layer)
    if connectivity == 26 and layer.size <= SMALL:
        return _with_room(layer)
    try:
        numbers, count = cc3d.connected_components(layer, connectivity=connectivity, return_N=True)
    except RuntimeError:
        return _with_room(layer)
    return numbers, count


def _with_room(layer: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The same by corners, with a rim at the far ends.

    Without one cc3d 4.1 reckons with too few components where single voxels fill an array as tightly as may
    be, two in a row of three, and fails.
    """
    import cc3d

    order: Literal["C", "F"] = "C" if layer.flags.c_contiguous else "F"
    padded = np.asarray(np.pad(layer, [(0, 1)] * layer.ndim), order=order)
    numbers, count = cc3d.connected_components(padded, connectivity=26, return_N=True)
    return np.asarray(numbers[tuple(slice(n) for n in layer.shape)].copy(order), numbers.dtype), count
