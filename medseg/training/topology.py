"""Patch, strides and kernels of a U-Net for images of a size and spacing.

The rules are nnU-Net's (Isensee et al., Nature Methods 18, 2021, 203-211): a patch of the images'
proportions, halved along an axis while its voxels are nearly as fine as the finest, and 4 are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Topology", "topology"]

LEAST = 4  # voxels along an axis at the coarsest level
LEAST_LEVELS, MOST_LEVELS = 3, 7
MOST_SIDE = 1024  # voxels of a window along an axis
COARSE = 2.0  # an axis is halved where its spacing is below so many times the finest


@dataclass(frozen=True)
class Topology:
    """A patch in voxels, strides between levels, and the kernel of each level, one number per axis."""

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]

    @property
    def levels(self) -> int:
        """Resolutions, the full one included."""
        return len(self.kernels)

    def channels(self, first: int, most: int) -> tuple[int, ...]:
        """Features at each level: doubled from one to the next, up to `most`."""
        return tuple(min(most, first * 2**level) for level in range(self.levels))


def topology(shape: Sequence[float], spacing: Sequence[float], *, most_voxels: int) -> Topology:
    """For images of about `shape` voxels, `spacing` apart, and patches of at most about `most_voxels`.

    Axes are those of the network: two or three.
    """
    shape = [min(n, MOST_SIDE) for n in shape]
    patch = _patch(shape, spacing, most_voxels)
    strides, kernels = _levels(patch, spacing)
    if len(kernels) < LEAST_LEVELS:  # images of a few voxels: the patch holds more than them
        enough = LEAST * 2 ** (LEAST_LEVELS - 1)
        fine = [step < COARSE * min(spacing) for step in spacing]
        patch = [max(n, enough) if is_fine else n for n, is_fine in zip(patch, fine, strict=True)]
        strides, kernels = _levels(patch, spacing)
    multiple = [math.prod(stride[axis] for stride in strides) for axis in range(len(patch))]
    fitted = [
        max(m, (math.ceil if n >= whole else round)(n / m) * m)
        for n, m, whole in zip(patch, multiple, shape, strict=True)
    ]
    return Topology(tuple(fitted), strides, kernels)


def _patch(shape: Sequence[float], spacing: Sequence[float], most_voxels: int) -> list[int]:
    """The whole image where that is small enough, else a cube in mm, cut where the image ends."""
    low, high = 0.0, max(n * step for n, step in zip(shape, spacing, strict=True))

    def cut(edge_mm: float) -> list[float]:
        return [max(1.0, min(n, edge_mm / step)) for n, step in zip(shape, spacing, strict=True)]

    if math.prod(cut(high)) > most_voxels:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if math.prod(cut(middle)) <= most_voxels else (low, middle)
        high = low
    return [max(1, math.ceil(n - 1e-6)) for n in cut(high)]


def _levels(
    patch: Sequence[int], spacing: Sequence[float]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Strides between levels, and the kernel of each."""
    size, steps = [float(n) for n in patch], list(spacing)
    near = [False] * len(size)
    strides: list[tuple[int, ...]] = []
    kernels: list[tuple[int, ...]] = []
    while True:
        near = [was or step < COARSE * min(steps) for was, step in zip(near, steps, strict=True)]
        kernels.append(tuple(3 if is_near else 1 for is_near in near))
        left = [step for n, step in zip(size, steps, strict=True) if n >= 2 * LEAST]
        finest = min(left, default=0.0)
        halved = [n >= 2 * LEAST and step < COARSE * finest for n, step in zip(size, steps, strict=True)]
        if not any(halved) or len(kernels) >= MOST_LEVELS:
            return tuple(strides), tuple(kernels)
        strides.append(tuple(2 if half else 1 for half in halved))
        size = [n / 2 if half else n for n, half in zip(size, halved, strict=True)]
        steps = [step * 2 if half else step for step, half in zip(steps, halved, strict=True)]
