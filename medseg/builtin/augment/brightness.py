"""The augmentation `brightness`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from medseg.builtin.augment.channels import each_channel, mean_and_sd, smallest_and_largest
from medseg.builtin.augment.span import Factors
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Brightness"]


class Brightness(IntensityAugmentation):
    """Multiply intensities, each channel by a factor of its own, and shift them.

    Nothing is clipped. `contrast` keeps the range of values, and their mean.
    """

    probability: float = Field(default=0.15, ge=0, le=1)
    """Share of samples that are changed."""

    factor: Factors = (0.75, 1.25)
    """Smallest and largest factor; drawn evenly."""

    centre: Literal["zero", "mean", "minimum"] = "zero"
    """Value that no factor changes: zero (air after ct-window, the mean after z-score), or the mean or the
    smallest value of the channel in the patch."""

    shift: float = Field(default=0.0, ge=0, le=100)
    """Largest shift, up or down, as a share of the channel's standard deviation in the patch."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Change the distance of every value from the centre."""
        factor = each_channel(rng.uniform(*self.factor, len(image)), image)
        shift = each_channel(rng.uniform(-self.shift, self.shift, len(image)), image)
        changed = image * factor
        if self.centre == "mean":
            changed += (1 - factor) * mean_and_sd(image)[0]
        elif self.centre == "minimum":
            changed += (1 - factor) * smallest_and_largest(image)[0]
        if self.shift:
            changed += shift * mean_and_sd(image)[1]
        return changed
