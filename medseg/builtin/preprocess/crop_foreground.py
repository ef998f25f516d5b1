"""The preprocessor `crop-foreground`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.otsu import otsu_threshold
from medseg.errors import InputError
from medseg.extent import extent, margin_voxels
from medseg.steps import Preprocessor
from medseg.volume import Grid, Volume

__all__ = ["CropForeground"]


class CropForeground(Preprocessor):
    """Crop to what is brighter than a threshold, with a margin in mm.

    Air around the patient costs time and memory and shifts intensity statistics. The box holds every voxel
    of the first channel above the threshold; all channels are cropped alike, and results return to the full
    image. Without a threshold, Otsu's is used (IEEE Transactions on Systems, Man, and Cybernetics 9, 1979,
    62-66): it parts a CT between air and tissue. On images with few bright voxels, give `above` yourself.
    """

    above: float | None = None
    """Voxels brighter than this are foreground, in the image's own unit; null for Otsu's threshold."""

    margin_mm: float = Field(default=10.0, ge=0)
    """At least this much is kept on each side of the foreground, as far as the image reaches, in mm."""

    def __call__(self, volume: Volume) -> Volume:
        """Return the part of the image that holds the foreground."""
        self._require_scale(volume.grid)
        box = extent(self._foreground(volume.array[0]))
        assert box is not None  # _foreground() refuses what has none
        margin = np.array(margin_voxels(volume.grid, self.margin_mm))
        start = np.maximum(0, [part.start for part in box] - margin)
        stop = np.minimum(volume.grid.shape, [part.stop for part in box] + margin)
        if np.array_equal(stop - start, volume.grid.shape):
            return volume
        return volume.crop(start.tolist(), stop.tolist())

    def foretold(self, grid: Grid) -> Grid:
        """The whole of it, where the foreground fills the image; raises GeometryError without a scale."""
        self._require_scale(grid)
        return grid

    def _require_scale(self, grid: Grid) -> None:
        if self.margin_mm > 0:
            grid.require_mm("crop-foreground's margin_mm")

    def _foreground(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Mark what is above the threshold; raises InputError where nothing is."""
        above = otsu_threshold(values) if self.above is None else self.above
        mask = np.asarray(values > above)
        if not mask.any():
            raise InputError(
                f"no voxel is above {above:g}, the largest is {values.max():g}; lower the crop's `above`"
            )
        return mask
