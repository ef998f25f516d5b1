"""The connected parts of a mask, or of all labels of a layer at once, and how large they are."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Connectivity", "Parts", "connected_parts", "parts_of_labels"]

CHUNK_VOXELS = 1 << 22
Connectivity = Literal[6, 18, 26]


@dataclass(frozen=True)
class Parts:
    """Connected parts of the labels of one layer, all numbered in one pass.

    `numbers[i, j, k]` is 0 outside; `sizes[n]` counts the voxels of part n and `owners[n]` is its label's
    value. Entry 0 of both is 0.
    """

    numbers: NDArray[Any]
    sizes: NDArray[np.int64]
    owners: NDArray[np.int64]

    def of(self, value: int) -> NDArray[np.intp]:
        """The numbers of a label's parts."""
        return np.flatnonzero((self.owners == value) & (self.sizes > 0))

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """Where each part begins when voxels are read along k, then j, then i: its lowest flat index."""
        first = np.zeros(len(self.sizes), np.int64)
        flat = self.numbers.reshape(-1)
        for start in reversed(range(0, flat.size, CHUNK_VOXELS)):
            chunk = flat[start : start + CHUNK_VOXELS]
            # backwards, as the last of several writes to one place stays
            first[chunk[::-1]] = np.arange(start + len(chunk) - 1, start - 1, -1)
        return first


def parts_of_labels(layer: NDArray[Any], connectivity: Connectivity) -> Parts:
    """Number the connected parts of every value of `layer[i, j, k]` but 0: many labels cost what one does."""
    import cc3d

    numbers, highest = cc3d.connected_components(
        np.ascontiguousarray(layer), connectivity=connectivity, return_N=True
    )
    flat, values = numbers.reshape(-1), layer.reshape(-1)
    sizes = np.zeros(highest + 1, np.int64)
    owners = np.zeros(highest + 1, np.int64)
    for start in range(0, flat.size, CHUNK_VOXELS):  # bincount makes int64 of all it is given
        chunk = flat[start : start + CHUNK_VOXELS]
        sizes += np.bincount(chunk, minlength=highest + 1)
        owners[chunk] = values[start : start + CHUNK_VOXELS]
    sizes[0] = owners[0] = 0
    return Parts(numbers, sizes, owners)


def connected_parts(
    mask: NDArray[np.bool_], connectivity: Connectivity
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number the connected parts of `mask[i, j, k]`.

    Returns their numbers `[i, j, k]`, 0 outside, and the count of voxels of each number; entry 0 is 0.
    """
    parts = parts_of_labels(mask, connectivity)
    return parts.numbers, parts.sizes
