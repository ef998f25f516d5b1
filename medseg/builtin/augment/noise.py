"""The augmentation `noise`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.builtin.augment.channels import mean_and_sd
from medseg.builtin.augment.span import Span
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import torch

__all__ = ["Noise"]


class Noise(IntensityAugmentation):
    """Add Gaussian noise, independent from voxel to voxel and from channel to channel."""

    probability: float = Field(default=0.1, ge=0, le=1)
    """Share of samples that are changed."""

    sd: Span = (0.0, 0.3)
    """Smallest and largest standard deviation of the noise, as a share of the channel's own in the patch;
    drawn evenly, once for all channels."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Add noise in proportion to the channel's standard deviation."""
        import torch

        share = rng.uniform(*self.sd)
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
        return torch.addcmul(image, noise.to(image.device), share * mean_and_sd(image)[1])
