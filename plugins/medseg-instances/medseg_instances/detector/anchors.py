"""Anchors: boxes of known places and shapes that objects are told by; which are of which object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor  # noqa: TID253

from medseg_instances.detector.boxes import paired_overlaps

__all__ = ["NOTHING", "UNDECIDED", "Anchors", "shapes"]

NOTHING, UNDECIDED = -1, -2
"""In place of an object's number: background, and what is not to be learnt from."""

NEAREST = 4  # places of each level whose anchors are looked at for an object, as in nnDetection


def shapes(size: float, octave: int, elongations: Sequence[float], dims: int) -> list[list[float]]:
    """Sides of a level's anchors, in its strides: `octave` sizes up to twice `size`, cubes and longer ones.

    An anchor of elongation e is e times as long along one axis as along the others, of the same volume.
    """
    ones = [[1.0] * dims]
    for ratio in elongations:
        short = ratio ** (-1 / dims)
        ones += [[short * ratio if axis == own else short for axis in range(dims)] for own in range(dims)]
    return [[size * 2 ** (n / octave) * side for side in one] for n in range(octave) for one in ones]


@dataclass(frozen=True, eq=False)
class Anchors:
    """The anchors `[A, 2 D]` of all levels of a pyramid: level by level, place by place, shape by shape."""

    boxes: Tensor = field(repr=False)
    sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    shapes: int

    @classmethod
    def of(
        cls, levels: Sequence[Tensor], strides: Sequence[tuple[int, ...]], sides: Sequence[Sequence[float]]
    ) -> Anchors:
        """For features `[N, C, *size]` of each level, whose places are `stride` voxels apart."""
        found = []
        for level, stride in zip(levels, strides, strict=True):
            step = torch.tensor(stride, dtype=torch.float32, device=level.device)
            lines = [torch.arange(n, device=level.device) + 0.5 for n in level.shape[2:]]
            centres = (
                torch.stack(torch.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 1, len(stride)) * step
            )
            half = torch.tensor(sides, dtype=torch.float32, device=level.device) * step / 2
            found.append(torch.cat([centres - half, centres + half], -1).reshape(-1, 2 * len(stride)))
        return cls(
            torch.cat(found), tuple(tuple(level.shape[2:]) for level in levels), tuple(strides), len(sides)
        )

    def matched(self, objects: Tensor) -> Tensor:
        """For each anchor the number of the object `[G, 2 D]` that it is of, or NOTHING.

        Of the anchors at the nearest places of each level, those are an object's that overlap it by more than
        the mean of these plus their standard deviation, and the best one (S. Zhang et al., CVPR 2020). Where
        an anchor is of several objects, it is of the one that it overlaps most.
        """
        count = len(self.boxes)
        match = self.boxes.new_full((count,), NOTHING, dtype=torch.long)
        if not len(objects):
            return match
        near = self._near(objects)
        overlap = paired_overlaps(self.boxes[near], objects[:, None])
        own = overlap >= overlap.mean(1, keepdim=True) + overlap.std(1, keepdim=True, correction=0)
        own &= overlap > 0
        overlap = overlap.scatter_add(1, overlap.argmax(1, keepdim=True), torch.ones_like(overlap[:, :1]))
        own |= overlap >= 1  # the best one, before all that are not some object's best
        number = torch.arange(len(objects), device=near.device)[:, None].expand_as(near)
        anchor, value, number = near[own], overlap[own], number[own]
        best = value.new_zeros(count).scatter_reduce(0, anchor, value, "amax")
        wins = value == best[anchor]
        match[anchor[wins]] = number[wins]
        return match

    def _near(self, objects: Tensor) -> Tensor:
        """The anchors at the nearest places of each level, `[G, …]`."""
        dims = objects.shape[1] // 2
        centres = (objects[:, :dims] + objects[:, dims:]) / 2
        found, first = [], 0
        for size, stride in zip(self.sizes, self.strides, strict=True):
            count = math.prod(size)
            middle = self.boxes[first : first + count * self.shapes : self.shapes]
            places = (middle[:, :dims] + middle[:, dims:]) / 2
            step = places.new_tensor(stride)
            far = torch.cdist(centres / step, places / step)
            nearest = far.topk(min(NEAREST, count), dim=1, largest=False).indices
            each = nearest[..., None] * self.shapes + torch.arange(self.shapes, device=far.device)
            found.append(first + each.flatten(1))
            first += count * self.shapes
        return torch.cat(found, 1)
