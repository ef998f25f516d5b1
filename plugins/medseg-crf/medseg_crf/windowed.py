"""Kernels of a batch of images, as a layer of a network sums them: over a window, or separable.

Voxels hear others only, weighted by the kernel divided by the square roots of what both hear in all. Sums of
shifted copies, one for each pair of opposite neighbours: they take any number of channels to look at, and
what must be kept for them is a number for each voxel and pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Protocol

import torch  # noqa: TID253 - imported when such a network is built
from torch import Tensor  # noqa: TID253

from medseg_crf.gaussian import blurred

__all__ = ["Kernel", "Smooth", "Windowed"]


class Kernel(Protocol):
    """Symmetric: what one voxel hears of another, that hears of it."""

    @property
    def kept(self) -> Sequence[Tensor]:
        """What is in memory for it."""

    def heard(self, values: Tensor) -> Tensor:
        """For each voxel of `values[N, C, *size]` the weighted sum over the others."""


class Smooth:
    """The kernel exp(-|a - b|^2 / 2 SD^2), with an SD in voxels along each axis; separable."""

    def __init__(self, like: Tensor, sd: Sequence[float]) -> None:
        self._sd = tuple(sd)
        self._scale = self._summed(torch.ones_like(like[:1, :1])).rsqrt()

    @property
    def kept(self) -> Sequence[Tensor]:
        """The scale of each voxel."""
        return [self._scale]

    def _summed(self, values: Tensor) -> Tensor:
        for axis, sd in enumerate(self._sd, start=2):
            values = blurred(values, axis=axis, sd=sd)
        return values

    def heard(self, values: Tensor) -> Tensor:
        """The weighted sum over all other voxels."""
        scaled = values * self._scale
        return (self._summed(scaled) - scaled) * self._scale


class Windowed:
    """The kernel exp(-|a - b|^2 / 2 SD^2 - |I_a - I_b|^2 / 2) of voxels at most `reach` apart on each axis.

    `image[N, G, *size]` is in units of the SD of intensity; `sd` and `reach` are in voxels along each axis.
    """

    def __init__(self, image: Tensor, sd: Sequence[float], reach: Sequence[int]) -> None:
        total = torch.ones_like(image[:, :1])
        found = []
        for offset in _half(reach):
            here, there = _apart(image.shape[2:], offset)
            far = sum((0.5 * (n / s) ** 2 for n, s in zip(offset, sd, strict=True)), 0.0)
            unlike = (image[here] - image[there]).square().sum(dim=1, keepdim=True)
            weight = torch.exp(unlike.mul_(-0.5).sub_(far))
            total[here] += weight
            total[there] += weight
            found.append((here, there, weight))
        scale = total.rsqrt()
        for here, there, weight in found:
            weight.mul_(scale[here]).mul_(scale[there])
        self._pairs = found

    @property
    def kept(self) -> Sequence[Tensor]:
        """The weights of each pair of opposite neighbours."""
        return [weight for _, _, weight in self._pairs]

    def heard(self, values: Tensor) -> Tensor:
        """The weighted sum over the others in the window."""
        total = torch.zeros_like(values)
        for here, there, weight in self._pairs:
            total[here].addcmul_(values[there], weight)
            total[there].addcmul_(values[here], weight)
        return total


def _half(reach: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """One of each two opposite steps within a window."""
    nowhere = (0,) * len(reach)
    return (step for step in product(*(range(-n, n + 1) for n in reach)) if step > nowhere)


def _apart(size: Sequence[int], step: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels that have another so many voxels on, and those others; both empty where there are none."""
    lows = [max(0, -n) for n in step]
    highs = [max(low, min(count, count - n)) for low, count, n in zip(lows, size, step, strict=True)]
    here = [slice(low, high) for low, high in zip(lows, highs, strict=True)]
    there = [slice(low + n, high + n) for low, high, n in zip(lows, highs, step, strict=True)]
    if any(part.start >= part.stop for part in here):
        here = there = [slice(0, 0)] * len(here)
    return (slice(None), slice(None), *here), (slice(None), slice(None), *there)
