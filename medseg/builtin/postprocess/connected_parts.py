"""The connected parts of a mask, or of all labels of a layer at once, and how large they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.components import Connectivity, components

__all__ = ["Parts", "connected_parts", "parts_of_labels"]

CHUNK_VOXELS = 1 << 22


@dataclass(frozen=True)
class Parts:
    """Connected parts of the labels of one layer, all numbered in one pass.

    `numbers[i, j, k]` is 0 outside, and `count` at most; `layer` is what was numbered. `sizes[n]` counts the
    voxels of part n and `owners[n]` is its label's value. Entry 0 of both is 0.
    """

    numbers: NDArray[Any]
    count: int
    layer: NDArray[Any]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Voxels of each part."""
        sizes = np.zeros(self.count + 1, np.int64)
        for chunk, _ in self._chunks():  # bincount makes int64 of all it is given
            sizes += np.bincount(chunk, minlength=self.count + 1)
        sizes[0] = 0
        return sizes

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The label's value of each part."""
        owners = np.zeros(self.count + 1, np.int64)
        for chunk, values in self._chunks():
            owners[chunk] = values
        owners[0] = 0
        return owners

    def _chunks(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Numbers and values, piece by piece in the order in which the numbers lie in memory."""
        last_first = self.numbers.flags.f_contiguous
        numbers, layer = (a.T if last_first else a for a in (self.numbers, self.layer))
        thick = max(1, CHUNK_VOXELS // max(1, numbers[:1].size))
        for start in range(0, len(numbers), thick):
            piece = slice(start, start + thick)
            yield numbers[piece].reshape(-1), layer[piece].reshape(-1)

    def of(self, value: int) -> NDArray[np.intp]:
        """The numbers of a label's parts."""
        return np.flatnonzero((self.owners == value) & (self.sizes > 0))

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """Where each part begins when voxels are read along k, then j, then i: its lowest flat index."""
        first = np.zeros(self.count + 1, np.int64)
        plane = self.numbers[:1].size
        thick = max(1, CHUNK_VOXELS // max(1, plane))
        for start in reversed(range(0, len(self.numbers), thick)):
            chunk = self.numbers[start : start + thick].reshape(-1)
            # backwards, as the last of several writes to one place stays
            begin = start * plane
            first[chunk[::-1]] = np.arange(begin + len(chunk) - 1, begin - 1, -1)
        return first


def parts_of_labels(layer: NDArray[Any], connectivity: Connectivity) -> Parts:
    """Number the connected parts of every value of `layer[i, j, k]` but 0: many labels cost what one does."""
    numbers, count = components(layer, connectivity)
    return Parts(numbers, count, layer)


def connected_parts(
    mask: NDArray[np.bool_], connectivity: Connectivity
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number the connected parts of `mask[i, j, k]`.

    Returns their numbers `[i, j, k]`, 0 outside, and the count of voxels of each number; entry 0 is 0.
    """
    parts = parts_of_labels(mask, connectivity)
    return parts.numbers, parts.sizes
