"""Objects too large to be decoded at once, put together from what each block saw of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.inference.refining import Part

__all__ = ["Piece", "joined"]

SAME = 0.5  # of the voxels that two blocks both see: what they see there is one object


@dataclass(frozen=True, eq=False)
class Piece:
    """What a block saw of an object that goes on beyond it: voxels within `part`, kept packed.

    `core` and `around` are the block without and with its margin, `label` and `score` the object's.
    """

    part: Part
    core: Part
    around: Part
    label: int
    score: float
    _packed: bytes = field(repr=False)

    @classmethod
    def of(
        cls, mask: NDArray[np.bool_], *, part: Part, core: Part, around: Part, label: int, score: float
    ) -> Piece:
        """The voxels `mask[i, j, k]` of `part`."""
        return cls(part, core, around, label, score, zlib.compress(np.packbits(mask).tobytes(), 1))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which voxels of `part` it has."""
        bits = np.frombuffer(zlib.decompress(self._packed), np.uint8)
        shape = self.part.shape
        return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(np.bool_)

    def own(self, array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """What lies in `array[i, j, k]` where its part and its core meet, and which of that it has."""
        box = _common(self.part, self.core)
        if box is None:
            return array[:0], np.zeros((0, *array.shape[1:]), np.bool_)
        return array[tuple(slice(a, b) for a, b in zip(box.low, box.high, strict=True))], self.within(box)

    def is_free(self, array: NDArray[Any]) -> bool:
        """Whether most of what it has in its core is 0 in `array[i, j, k]`."""
        region, mask = self.own(array)
        free = int(np.count_nonzero(region[mask] == 0))
        return free > 0 and free >= SAME * int(np.count_nonzero(mask))

    def within(self, box: Part) -> NDArray[np.bool_]:
        """Which of the voxels of a box it has, as far as the box and its own part meet."""
        return self.mask[box.within(self.part)]

    def goes_on_in(self, other: Piece) -> bool:
        """Whether most of what both blocks see of one of the two is seen as the other one."""
        both = _common(self.part, other.part)
        if both is None:
            return False
        shared = int(np.count_nonzero(self.within(both) & other.within(both)))
        seen = [
            int(np.count_nonzero(piece.within(box))) if (box := _common(piece.part, block)) else 0
            for piece, block in ((self, other.around), (other, self.around))
        ]
        return shared > 0 and shared >= SAME * min(seen)


def joined(pieces: Sequence[Piece], array: NDArray[Any]) -> list[list[Piece]]:
    """Objects as lists of pieces; `array[i, j, k]` is above 0 where an object is already.

    A piece of which most is there is left out: it is of an object that another block found whole.
    """
    left = [piece for piece in pieces if piece.is_free(array)]
    root = list(range(len(left)))

    def root_of(number: int) -> int:
        while root[number] != number:
            number = root[number]
        return number

    for one, other in combinations(range(len(left)), 2):
        if root_of(one) != root_of(other) and left[one].goes_on_in(left[other]):
            root[root_of(other)] = root_of(one)
    found: dict[int, list[Piece]] = {}
    for number, piece in enumerate(left):
        found.setdefault(root_of(number), []).append(piece)
    return list(found.values())


def _common(one: Part, other: Part) -> Part | None:
    """Where two parts meet; None where they do not."""
    low = [max(a, b) for a, b in zip(one.low, other.low, strict=True)]
    high = [min(a, b) for a, b in zip(one.high, other.high, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return None
    return Part((low[0], low[1], low[2]), (high[0], high[1], high[2]))
