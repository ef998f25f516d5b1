"""The augmentation `contrast`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.builtin.augment.channels import each_channel, mean_and_sd, smallest_and_largest
from medseg.builtin.augment.span import Factors
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Contrast"]


class Contrast(IntensityAugmentation):
    """Move intensities towards or away from their mean, each channel by a factor of its own."""

    probability: float = Field(default=0.15, ge=0, le=1)
    """Share of samples that are changed."""

    factor: Factors = (0.75, 1.25)
    """Smallest and largest factor of the distance from the channel's mean in the patch; drawn evenly."""

    keep_range: bool = True
    """Clip to the smallest and the largest value that the channel had before."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Change the distance of every value from the mean."""
        factor = each_channel(rng.uniform(*self.factor, len(image)), image)
        changed = image * factor
        changed += (1 - factor) * mean_and_sd(image)[0]
        if self.keep_range:
            changed.clamp_(*smallest_and_largest(image))
        return changed
