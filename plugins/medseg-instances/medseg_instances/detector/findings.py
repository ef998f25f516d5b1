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

REACH = 4  # voxels around what a border cuts within which it may be of something whole
WRONG_BY, WRONG = 2, 0.1  # voxels, or which part of its side, that an object's border may be wrong by


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
    and has the attribute `cut`. An object of which surer ones have more than `shared` is left out, and one
    that a border cuts also where they would have it if they were a little larger. Ids are in the order of
    the objects' first voxels.
    """
    table = tuple(labels)
    array = np.zeros((labels.layers, *grid.shape), np.uint32)
    order = sorted(findings, key=lambda each: (each.cut, -each.score, each.low, each.label))
    kept: list[tuple[int, Finding]] = []
    for finding in order:
        layer, mask = array[table[finding.label].layer], finding.mask
        region = layer[finding.region]
        free = mask & (region == 0)
        left = int(free.sum())
        if left == 0 or left < (1 - shared) * mask.sum():
            continue
        if finding.cut and _is_part(finding, layer, kept, shared=shared):
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


def _is_part(
    finding: Finding, layer: NDArray[np.uint32], kept: Sequence[tuple[int, Finding]], *, shared: float
) -> bool:
    """Whether what a border cuts is of something whole, whose mask lies a little otherwise elsewhere.

    Of a rim that a window sees of an object, that object may have nothing: masks are wrong by a voxel, or by
    more where objects are large.
    """
    from scipy.ndimage import maximum_filter

    mask = finding.mask
    close = tuple(slice(max(0, part.start - REACH), part.stop + REACH) for part in finding.region)
    for number in np.unique(layer[close]).tolist():
        if number == 0 or kept[number - 1][1].cut:
            continue
        wide = [max(WRONG_BY, round(WRONG * n)) if n > 1 else 0 for n in kept[number - 1][1].shape]
        parts = list(zip(finding.region, wide, strict=True))
        around = tuple(slice(max(0, part.start - n), part.stop + n) for part, n in parts)
        larger = maximum_filter(layer[around] == number, [2 * n + 1 for n in wide], mode="constant")
        start = [part.start - max(0, part.start - n) for part, n in parts]
        inside = larger[tuple(slice(n, n + size) for n, size in zip(start, mask.shape, strict=True))]
        if (mask & inside).sum() > shared * mask.sum():
            return True
    return False
