"""What windows found, in the image's voxels, and how it becomes one map of ids."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.segmentation import LabelTable, LayerKind, Object, Segmentation
from medseg.volume import Grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FINDING_BYTES", "Finding", "Findings", "in_voxels", "painted", "wrong_by"]

Triple = tuple[int, int, int]

HEAD = struct.Struct("<7id?")  # of a finding in memory, before the bits of its mask
FINDING_BYTES = 192  # that one takes beside its bits: its head, Python's own, its place in the order
WRONG_BY, OF_SMALL = 2.0, 0.25  # voxels that a border may be wrong by, and part of its side that that is
WRONG_MASK = 0.1  # of a side: nearly three of a mask's 28 cells


def wrong_by(side: float, share: float) -> float:
    """Voxels that a border of an object of `side` voxels may be wrong by along that axis.

    2, as boxes are told from features some voxels apart; of large objects `share` of their side, since boxes
    and masks are told in parts of it; of small ones a quarter, so that one of three thick slices is not taken
    for one of five.
    """
    return max(min(WRONG_BY, OF_SMALL * side), share * side)


@dataclass(frozen=True, eq=False, slots=True)
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


class Findings:
    """Many of them, close together in memory: of an image of many windows there may be millions."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._packed: list[bytes] = []
        self.extend(findings)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Keep these too."""
        self._packed.extend(
            HEAD.pack(*each.low, *each.shape, each.label, each.score, each.cut) + each.bits.tobytes()
            for each in findings
        )

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, number: int) -> Finding:
        packed = self._packed[number]
        a, b, c, i, j, k, label, score, cut = HEAD.unpack_from(packed)
        bits = np.frombuffer(packed, np.uint8, offset=HEAD.size)
        return Finding((a, b, c), (i, j, k), bits, label, score, cut)

    def in_order(self) -> NDArray[np.int64]:
        """Their places: what is whole before what a border cuts, the surer first, then by place and label."""
        columns = np.empty((6, len(self)))
        for number, packed in enumerate(self._packed):
            *low, _, _, _, label, score, cut = HEAD.unpack_from(packed)
            columns[:, number] = cut, -score, *low, label
        order: NDArray[np.int64] = np.lexsort(columns[::-1])
        return order


class Kept(NamedTuple):
    """What is known of an object that is in the map: its first voxel, and what it was found as."""

    first: int
    shape: Triple
    label: int
    score: float
    cut: bool


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


def painted(findings: Findings, grid: Grid, labels: LabelTable, *, shared: float) -> Segmentation:
    """The objects of a layer of labels each, whose voxels are one's only: the surest first.

    What a window's border cuts comes after all that is whole: what is left of it then was whole in no window,
    and has the attribute `cut`. An object of which surer ones have more than `shared` is left out, and one
    that a border cuts also where they would have it if they were a little larger. Ids are in the order of
    the objects' first voxels.
    """
    table = tuple(labels)
    array = np.zeros((labels.layers, *grid.shape), np.uint32)
    kept: list[Kept] = []
    reach = [0, 0, 0]  # how much larger than it is something whole may be, at most
    for finding in map(findings.__getitem__, findings.in_order()):
        layer, mask = array[table[finding.label].layer], finding.mask
        region = layer[finding.region]
        free = mask & (region == 0)
        left = int(free.sum())
        if left == 0 or left < (1 - shared) * mask.sum():
            continue
        if not finding.cut:
            reach = [max(pair) for pair in zip(reach, _larger_by(finding.shape), strict=True)]
        elif _is_part(finding, layer, kept, reach, shared=shared):
            continue
        region[free] = len(kept) + 1
        first = np.unravel_index(int(free.argmax()), free.shape)
        place = [int(at) + start for at, start in zip(first, finding.low, strict=True)]
        flat = int(np.ravel_multi_index(place, grid.shape))
        kept.append(Kept(flat, finding.shape, finding.label, finding.score, finding.cut))
    return _numbered(array, kept, grid, labels)


def _numbered(
    array: NDArray[np.uint32], kept: Sequence[Kept], grid: Grid, labels: LabelTable
) -> Segmentation:
    """A map of places in `kept`, from 1 on, with ids in the order of the objects' first voxels instead."""
    table = tuple(labels)
    in_order = sorted(range(len(kept)), key=lambda n: (kept[n].first, n))
    number = np.zeros(len(kept) + 1, np.uint32)
    number[1 + np.array(in_order, np.int64)] = np.arange(1, len(kept) + 1)
    for layer in array:
        for plane in layer:
            plane[:] = number[plane]
    objects = tuple(
        Object(n, table[own.label].name, round(own.score, 4), {"cut": True} if own.cut else {})
        for n, own in enumerate((kept[place] for place in in_order), start=1)
    )
    kinds: list[LayerKind] = ["objects"] * labels.layers
    return Segmentation(array, grid, labels, tuple(kinds), objects)


def _larger_by(shape: Triple) -> list[int]:
    """Voxels along each axis that an object of this shape may be larger by; none across a slice."""
    return [round(wrong_by(n, WRONG_MASK)) if n > 1 else 0 for n in shape]


def _is_part(
    finding: Finding,
    layer: NDArray[np.uint32],
    kept: Sequence[Kept],
    reach: Sequence[int],
    *,
    shared: float,
) -> bool:
    """Whether what a border cuts is of something whole, whose mask lies a little otherwise elsewhere.

    Of a rim that a window sees of an object, that object may have nothing: masks are wrong by a voxel, or by
    more where objects are large.
    """
    from scipy.ndimage import maximum_filter

    mask = finding.mask
    for number in np.unique(layer[_around(finding, reach)]).tolist():
        if number == 0 or kept[number - 1].cut:
            continue
        wide = _larger_by(kept[number - 1].shape)
        around = _around(finding, wide)
        larger = maximum_filter(layer[around] == number, [2 * n + 1 for n in wide], mode="constant")
        start = [part.start - wider.start for part, wider in zip(finding.region, around, strict=True)]
        inside = larger[tuple(slice(n, n + size) for n, size in zip(start, mask.shape, strict=True))]
        if (mask & inside).sum() > shared * mask.sum():
            return True
    return False


def _around(finding: Finding, wide: Sequence[int]) -> tuple[slice, ...]:
    """Where a finding lies, and so many voxels about it."""
    parts = zip(finding.region, wide, strict=True)
    return tuple(slice(max(0, part.start - n), part.stop + n) for part, n in parts)
