"""The augmentation `negative`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.builtin.augment.channels import smallest_and_largest
from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import torch

__all__ = ["Negative"]


class Negative(IntensityAugmentation):
    """Make bright dark and dark bright: in each channel the largest value of the patch becomes the least.

    For structures that some scanners or stains show bright on dark and others dark on bright, as nuclei.
    """

    probability: float = Field(default=0.1, ge=0, le=1)
    """Share of samples that are changed."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Turn every value over within its channel's range."""
        low, high = smallest_and_largest(image)
        return low + high - image
