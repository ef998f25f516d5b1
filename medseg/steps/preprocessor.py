"""Steps before the segmenter: an image in, an image out."""

import math
from abc import ABC, abstractmethod

import numpy as np

from medseg.errors import PluginError
from medseg.steps.step import Step
from medseg.volume import Grid, Volume

__all__ = ["Preprocessor"]

FLOAT = 4  # bytes


class Preprocessor(Step, ABC):
    """Turns one Volume into another before segmentation; changed geometry is stated in the new grid."""

    @abstractmethod
    def __call__(self, volume: Volume) -> Volume:
        """Return a new volume; `volume.array` is read-only."""

    def foretold(self, grid: Grid) -> Grid:
        """The grid of what a volume on `grid` becomes, told without its voxels, for plans.

        Where that depends on the image, the largest it can be. Override it where the grid changes.
        """
        return grid

    def work_bytes(self, volume: Volume) -> int:
        """Memory it takes at most beside its input, so that a limit is kept; two copies in single precision.

        Override it where a step takes more.
        """
        return 2 * FLOAT * len(volume.channels) * math.prod(self.foretold(volume.grid).shape)

    @staticmethod
    def check(returned: object) -> Volume:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        if not isinstance(returned, Volume):
            raise PluginError(f"returned {type(returned).__name__}, not a Volume")
        if returned.array.dtype.kind not in "iuf":
            raise PluginError(f"returned an image of {returned.array.dtype}, not of numbers")
        if returned.array.dtype.kind == "f" and not np.isfinite(returned.array).all():
            raise PluginError("returned an image with NaN or infinite values")
        return returned
