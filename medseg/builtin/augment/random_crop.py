"""The augmentation `random-crop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.steps import SpatialAugmentation

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["RandomCrop"]


class RandomCrop(SpatialAugmentation):
    """Move the patch about the place at which it was to be cut out.

    Without it, a patch around a voxel of a label has that label in its very centre. What was there stays
    inside the patch, whatever the share.
    """

    probability: float = Field(default=1.0, ge=0, le=1)
    """Share of samples that are changed."""

    share: float = Field(default=0.25, ge=0, lt=0.5)
    """Longest way along each axis, either way, as a share of the patch's side; drawn evenly up to it."""

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Shift all points along the patch's sides, as they lie when earlier changes have turned them."""
        shift = points.new_zeros(len(points))
        middle = [voxels // 2 for voxels in points.shape[1:]]
        for axis, way in enumerate(rng.uniform(-self.share, self.share, len(points))):
            voxels = points.shape[1 + axis]
            first, last = ((slice(None), *middle[:axis], at, *middle[axis + 1 :]) for at in (0, -1))
            # From the first voxel's centre to the last one's is one voxel less than the side.
            side = (points[last] - points[first]) * (voxels / max(1, voxels - 1))
            shift += way * side
        return points + shift.reshape(-1, *(1,) * (points.ndim - 1))
