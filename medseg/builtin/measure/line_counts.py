"""How many voxels of a mask lie on each line along an axis, and where their middle is; no list of them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_along", "mean_index"]

MOST = 255  # that a byte can count; sums of bytes are quicker than those of wider numbers


def counts_along(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """How many voxels of `mask[i, j, k]` are on each line along an axis, as the two other axes."""
    layers = np.moveaxis(mask.view(np.uint8), axis, 0)
    counts = np.zeros(layers.shape[1:], np.int64)
    for start in range(0, len(layers), MOST):
        counts += np.add.reduce(layers[start : start + MOST], axis=0, dtype=np.uint8)
    return counts


def mean_index(mask: NDArray[np.bool_]) -> list[float]:
    """The mean index along i, j, k of a mask that is not empty."""
    over_i, over_k = counts_along(mask, 0), counts_along(mask, 2)
    counts = over_k.sum(axis=1), over_i.sum(axis=1), over_i.sum(axis=0)
    return [float(np.average(np.arange(len(count)), weights=count)) for count in counts]
