"""What windows found, in the image's voxels, and how it becomes one map of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medseg.segmentation import LabelTable, LayerKind, Object, Segmentation
from medseg.volume import Grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Finding", "in_voxels", "painted"]

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Finding:
    """An object in a box of `shape` voxels from `low` on, its mask as bits; `cut` by its window."""

    low: Triple
    shape: Triple
    bits: NDArray[np.uint8] = field(repr=False)
    label: int
    score: float
    cut: bool

    @classmethod
    def of(cls, mask: NDArray[np.bool_], low: Triple, *, label: int, score: float, cut: bool) -> Finding:
        """A mask `[i, j, k]` whose first voxel is `low`."""
        i, j, k = mask.shape
        return cls(low, (i, j, k), np.packbits(mask), label, score, cut)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`[i, j, k]`."""
        count = int(np.prod(self.shape))
        return np.unpackbits(self.bits, count=count).astype(np.bool_).reshape(self.shape)

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """Where it lies in the image."""
        i, j, k = (slice(start, start + size) for start, size in zip(self.low, self.shape, strict=True))
        return i, j, k


def in_voxels(
    box: Tensor, mask: Tensor, low: Sequence[int], high: Sequence[int]
) -> tuple[NDArray[np.bool_], list[int]] | None:
    """The voxels between `low` and `high` whose middles lie in a box and where its mask is more than half.

    The mask's cells `[*(cells,) * D]` are read linearly. A box that holds no voxel's middle has the voxel
    about its own. With the first voxel of what is given; None where there is nothing.
    """
    import torch
    from torch.nn.functional import grid_sample

    dims = box.shape[0] // 2
    corners = box.tolist()
    lines, first = [], []
    for axis in range(dims):
        start, stop = corners[axis], corners[dims + axis]
        one, last = int(np.ceil(start - 0.5)), int(np.ceil(stop - 0.5))
        if last <= one:
            one = int(np.floor((start + stop) / 2))
            last = one + 1
        one, last = max(one, low[axis]), min(last, high[axis])
        if last <= one:
            return None
        first.append(one)
        middle = torch.arange(one, last, dtype=torch.float32) + 0.5
        lines.append(2 * (middle - start) / max(stop - start, 1e-6) - 1)
    at = torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1)
    read = grid_sample(mask[None, None], at[None], padding_mode="border", align_corners=False)[0, 0]
    inside = np.asarray(read.numpy() > 0.5)
    return (inside, first) if inside.any() else None


def painted(findings: Sequence[Finding], grid: Grid, labels: LabelTable, *, shared: float) -> Segmentation:
    """The objects of a layer of labels each, whose voxels are one's only: the surest first.

    What a window's border cuts comes after all that is whole: what is left of it then was whole in no window,
    and has the attribute `cut`. An object of which surer ones have more than `shared` is left out. Ids are in
    the order of the objects' first voxels.
    """
    table = tuple(labels)
    array = np.zeros((labels.layers, *grid.shape), np.uint32)
    order = sorted(findings, key=lambda each: (each.cut, -each.score, each.low, each.label))
    kept: list[tuple[int, Finding]] = []
    for finding in order:
        region = array[table[finding.label].layer][finding.region]
        mask = finding.mask
        free = mask & (region == 0)
        left = int(free.sum())
        if left == 0 or left < (1 - shared) * mask.sum():
            continue
        region[free] = len(kept) + 1
        first = np.unravel_index(int(free.argmax()), free.shape)
        place = [int(at) + start for at, start in zip(first, finding.low, strict=True)]
        kept.append((int(np.ravel_multi_index(place, grid.shape)), finding))
    in_order = sorted(range(len(kept)), key=lambda n: (kept[n][0], n))
    number = np.zeros(len(kept) + 1, np.uint32)
    number[1 + np.array(in_order, np.int64)] = np.arange(1, len(kept) + 1)
    for layer in array:
        for plane in layer:
            plane[:] = number[plane]
    objects = tuple(
        Object(n, table[own.label].name, round(own.score, 4), {"cut": True} if own.cut else {})
        for n, (_, own) in enumerate((kept[place] for place in in_order), start=1)
    )
    kinds: list[LayerKind] = ["objects"] * labels.layers
    return Segmentation(array, grid, labels, tuple(kinds), objects)
