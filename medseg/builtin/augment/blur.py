"""The augmentation `blur`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.builtin.augment.span import Span
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["Blur"]

REACH = 4.0  # the kernel ends at so many sigma, as that of SciPy does; beyond lies less than 1e-4 of it


class Blur(IntensityAugmentation):
    """Smooth with a Gaussian, as another reconstruction kernel or scanner would.

    Beyond its border the patch is taken to go on with the values there.
    """

    probability: float = Field(default=0.2, ge=0, le=1)
    """Share of samples that may be changed."""

    sigma: Span = (0.5, 1.0)
    """Smallest and largest sigma, in voxels along every axis; drawn evenly for each channel."""

    per_channel: float = Field(default=0.5, ge=0, le=1)
    """Chance of each channel of such a sample to be smoothed."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Smooth the channels that are chosen."""
        changed = image.clone()
        for channel in changed:
            chosen, sigma = rng.random() < self.per_channel, rng.uniform(*self.sigma)
            if chosen:
                channel.copy_(_smooth(channel, _kernel(sigma)))
        return changed


def _kernel(sigma: float) -> NDArray[np.float64]:
    """Weights of the middle voxel and of those beside it, outwards; on both sides they sum to 1."""
    radius = int(REACH * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / max(sigma, 1e-6)) ** 2)
    return np.asarray(weights / (2 * weights.sum() - weights[0]))


def _smooth(channel: torch.Tensor, kernel: NDArray[np.float64]) -> torch.Tensor:
    """`channel[*patch]`, smoothed along each axis.

    Sums of shifted copies: faster on a CPU than convolutions, and float32 on a GPU, where those may use TF32.
    """
    import torch

    radius = len(kernel) - 1
    for axis, voxels in enumerate(channel.shape):
        beyond = torch.arange(-radius, voxels + radius, device=channel.device).clamp_(0, voxels - 1)
        wide = channel.index_select(axis, beyond)
        channel = wide.narrow(axis, radius, voxels) * float(kernel[0])
        for away in range(1, radius + 1):
            for start in (radius - away, radius + away):
                channel.add_(wide.narrow(axis, start, voxels), alpha=float(kernel[away]))
    return channel
