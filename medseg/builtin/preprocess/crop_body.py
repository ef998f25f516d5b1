"""The preprocessor `crop-body`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.otsu import otsu_threshold
from medseg.errors import InputError
from medseg.extent import extent, margin_voxels
from medseg.steps import Preprocessor
from medseg.volume import Grid, Volume

__all__ = ["CropBody"]

SKIN_HU = -300.0  # half-way between air and fat, and above table foam and blankets
COARSE_MM = 4.0  # thin enough for skin folds and ears, thick enough to open a table away from the back
REACH = 6  # coarse voxels, 24 mm: how far what opening took off the body is given back


class CropBody(Preprocessor):
    """Crop to the body, with a margin in mm, on edges that do not move with noise.

    The air around a patient is often half of the image, and a network takes as long for it as for tissue.
    The body is the largest connected part of the first channel above a threshold, once thin bridges to the
    table are opened; what is thinner than about 8 mm but within 24 mm of the rest (ears, fingers) stays. All
    channels are cropped alike, and results return to the full image with background outside.

    The box begins and ends at multiples of `step_mm`, counted in whole voxels from the image's own first
    voxel. Windows are spread from face to face: if the box followed the skin voxel by voxel, a little noise
    there would shift every window, and labels in the middle of the body with them.
    """

    above: float | None = None
    """Voxels brighter than this may be body, in the image's own unit; null for -300 HU in a CT and for Otsu's
    threshold elsewhere (IEEE Transactions on Systems, Man, and Cybernetics 9, 1979, 62-66)."""

    margin_mm: float = Field(default=10.0, ge=0)
    """At least this much is kept on each side of the body, as far as the image reaches, in mm."""

    step_mm: float = Field(default=24.0, ge=0)
    """The box grows to multiples of this, in mm, rounded to whole voxels; 0 for every voxel."""

    def __call__(self, volume: Volume) -> Volume:
        """Return the part of the image that holds the body; raises InputError where there is none."""
        grid = volume.grid
        grid.require_mm("crop-body")
        low, high = self._body(volume)
        margin = np.array(margin_voxels(grid, self.margin_mm))
        step = np.maximum(1, np.rint(self.step_mm / np.asarray(grid.spacing))).astype(int)
        start = np.maximum(0, low - margin) // step * step
        stop = np.minimum(grid.shape, -(-(high + margin) // step) * step)
        if np.array_equal(stop - start, grid.shape):
            return volume
        return volume.crop(start.tolist(), stop.tolist())

    def foretold(self, grid: Grid) -> Grid:
        """The whole of it, where the body fills the image; raises GeometryError without a scale."""
        grid.require_mm("crop-body")
        return grid

    def _body(self, volume: Volume) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and last + 1 voxel of the body along i, j, k."""
        stride = _stride(volume.grid)
        coarse = _brightest(volume.array[0], stride)
        above = self._threshold(volume)
        mask = coarse > above
        if not mask.any():
            raise InputError(
                f"no voxel is above {above:g}, the largest is {coarse.max():g}; lower crop-body's `above`"
            )
        box = extent(_largest(mask))
        assert box is not None  # the largest part has a voxel
        low, high = np.array([[part.start, part.stop] for part in box]).T
        return low * stride, np.minimum(volume.grid.shape, high * stride)

    def _threshold(self, volume: Volume) -> float:
        if self.above is not None:
            return self.above
        is_ct = volume.source is not None and volume.source.modality == "CT"
        return SKIN_HU if is_ct else otsu_threshold(volume.array[0])


def _stride(grid: Grid) -> NDArray[np.int64]:
    """Voxels from one coarse voxel to the next: a bounding box needs no finer mask."""
    return np.maximum(1, np.floor(COARSE_MM / np.asarray(grid.spacing))).astype(np.int64)


def _brightest(values: NDArray[Any], stride: NDArray[np.int64]) -> NDArray[Any]:
    """The largest value of each coarse voxel, so that no bright one is passed over."""
    for axis, step in enumerate(stride.tolist()):
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], step), axis=axis)
    return values


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of a mask once opened, with what opening took off nearby.

    Beyond the image counts as inside, so that a body cut by its border, or a stack of two slices, is not
    worn away there. A mask that opening leaves empty is not opened.
    """
    from scipy import ndimage

    worn = ndimage.binary_erosion(mask, border_value=1)
    opened = ndimage.binary_dilation(worn) & mask
    parts, count = ndimage.label(opened if opened.any() else mask)
    largest = parts == 1 + np.bincount(parts.ravel(), minlength=count + 1)[1:].argmax()
    return np.asarray(ndimage.binary_dilation(largest, iterations=REACH, mask=mask))
