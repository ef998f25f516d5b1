"""The augmentation `low-resolution`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.builtin.augment.span import Shares
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["LowResolution"]


class LowResolution(IntensityAugmentation):
    """Read the patch on a coarser grid and bring it back, as if it had been acquired with larger voxels."""

    probability: float = Field(default=0.25, ge=0, le=1)
    """Share of samples that may be changed."""

    factor: Shares = (0.5, 1.0)
    """Smallest and largest number of voxels along an axis, as a share of the patch's; drawn evenly for each
    channel."""

    per_channel: float = Field(default=0.5, ge=0, le=1)
    """Chance of each channel of such a sample to be changed."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Take the nearest voxels of the coarser grid, and interpolate linearly between them."""
        from torch.nn.functional import interpolate

        shape = tuple(image.shape[1:])
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        changed = image.clone()
        for channel in changed:
            chosen, factor = rng.random() < self.per_channel, rng.uniform(*self.factor)
            coarse = [max(1, round(side * factor)) for side in shape]
            if chosen:
                few = interpolate(channel[None, None], size=coarse, mode="nearest-exact")
                channel.copy_(interpolate(few, size=shape, mode=mode, align_corners=False)[0, 0])
        return changed
