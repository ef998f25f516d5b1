"""The augmentation `swap-channels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.steps import IntensityAugmentation

if TYPE_CHECKING:
    import torch

__all__ = ["SwapChannels"]


class SwapChannels(IntensityAugmentation):
    """Put the channels into another order, so that a network does not rely on one colour.

    For pictures whose stains or filters differ; not for inputs that mean something each, as T1 and FLAIR.
    """

    probability: float = Field(default=0.2, ge=0, le=1)
    """Share of samples that are changed."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The same channels in a random order."""
        return image[rng.permutation(len(image)).tolist()].clone()
