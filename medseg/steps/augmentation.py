"""Random changes of training patches: what stays true of an image when it lies, or looks, different."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from pydantic import Field

from medseg.segmentation import LabelTable
from medseg.steps.step import Step

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Augmentation", "IntensityAugmentation", "SpatialAugmentation"]


class Augmentation(Step, ABC):
    """A random change of a training sample; every sample draws anew whether and how.

    All that is random comes from the generator that is handed in, so that a sample follows from its number.
    """

    probability: float = Field(default=0.2, ge=0, le=1)
    """Share of samples that are changed."""

    def bound(self, *, labels: LabelTable, axes: str) -> Self:
        """The augmentation that knows the labels and where the axes of a patch run to, as in "RAS" or "RA".

        Called once, before the first sample; the place to refuse, as a PipelineError, what the labels forbid.
        Most need neither.
        """
        return self


class SpatialAugmentation(Augmentation, ABC):
    """Moves the places at which image, labels and maps are read: all three by the same points.

    Several in a row move the points one after the other, and the case is then read once: nothing is
    interpolated twice, and what comes into view at a patch's border is the case, not padding.
    """

    @abstractmethod
    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Move `points[D, *patch]`, float32: where each voxel of the patch is read, in mm from its centre.

        D is 2 or 3, in the order of the patch's axes. Return a new tensor; `points` stays as it is.
        """


class IntensityAugmentation(Augmentation, ABC):
    """Changes values, not places."""

    @abstractmethod
    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Change `image[C, *patch]`, float32 as it comes out of the preprocessing, D = 2 or 3 axes.

        Return a new tensor of the same shape, finite; `image` stays as it is. Values may be in any range
        (a CT window from 0 to 1, z-scores), so amounts are told as shares of the image's own spread.
        """
