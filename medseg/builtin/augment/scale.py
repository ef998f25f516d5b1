"""The augmentation `scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.builtin.augment.span import Factors
from medseg.steps import SpatialAugmentation

if TYPE_CHECKING:
    import torch

__all__ = ["Scale"]


class Scale(SpatialAugmentation):
    """Make what is in the patch larger or smaller.

    A factor of 1.25 shows everything 1.25 times as large: the points at which the patch is read move towards
    its centre, to 1 / 1.25 of their distance from it.
    """

    factor: Factors = (0.7, 1.4)
    """Smallest and largest factor; drawn on a logarithmic scale: half as large is as likely as twice."""

    per_axis: float = Field(default=0.0, ge=0, le=1)
    """Share of changed samples in which every axis has a factor of its own; in the others all have one."""

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Divide the distances from the centre by the factor."""
        low, high = np.log(self.factor)
        apart = rng.random() < self.per_axis
        factors = np.exp(rng.uniform(low, high, len(points) if apart else 1))
        return points * points.new_tensor(1 / factors).reshape(-1, *(1,) * (points.ndim - 1))
