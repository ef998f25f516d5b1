"""The augmentation `gamma`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.builtin.augment.channels import each_channel, mean_and_sd, smallest_and_largest
from medseg.builtin.augment.span import Factors
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import torch

__all__ = ["Gamma"]


class Gamma(IntensityAugmentation):
    """Bend the scale of intensities: dark tissue becomes more alike and bright tissue less, or the reverse.

    Each channel is brought to 0 to 1 by its smallest and largest value in the patch, taken to a power of its
    own, and brought back. The order of values stays as it is.
    """

    probability: float = Field(default=0.4, ge=0, le=1)
    """Share of samples that are changed."""

    power: Factors = (0.7, 1.5)
    """Smallest and largest exponent; one below and one above 1 are equally likely where there are both."""

    inverted: float = Field(default=0.25, ge=0, le=1)
    """Share of changed samples of which the negative is bent, so that bright and dark change roles."""

    keep_statistics: bool = True
    """Bring the channel back to the mean and standard deviation that it had; its range may then change."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Take every value, within the channel's range, to a power."""
        inverted = rng.random() < self.inverted
        power = each_channel(np.array([self._drawn(rng) for _ in image]), image)
        low, high = smallest_and_largest(image)
        extent = high - low
        # A channel of one value has no extent, and comes back as it was.
        unit = ((image - low) / extent.clamp_min(_TINY)).clamp_(0, 1)
        if inverted:
            unit = 1 - unit
        bent = unit.pow_(power)
        if inverted:
            bent = 1 - bent
        changed = bent.mul_(extent).add_(low)
        return _with_statistics(changed, image) if self.keep_statistics else changed

    def _drawn(self, rng: np.random.Generator) -> float:
        low, high = self.power
        below = rng.random() < 0.5
        if low < 1 < high:
            low, high = (low, 1.0) if below else (1.0, high)
        return float(rng.uniform(low, high))


_TINY = 1e-30  # of any unit; far from what float32 can no longer divide by


def _with_statistics(changed: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """`changed`, in place, with the mean and the standard deviation of each channel of `image`."""
    mean, sd = mean_and_sd(image)
    mean_now, sd_now = mean_and_sd(changed)
    factor = (sd / sd_now.clamp_min(_TINY)).where(sd_now > 0, 1.0)
    return changed.sub_(mean_now).mul_(factor).add_(mean)
