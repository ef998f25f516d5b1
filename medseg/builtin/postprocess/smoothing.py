"""The postprocessor `smooth-surface`."""

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.ball import require_right_angles
from medseg.builtin.postprocess.repaint import Mask, repaint_among
from medseg.builtin.signed_distance import TRUNCATE, smoothed_distance
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume

__all__ = ["Smoothing"]

FIELD_BYTES = 24  # a voxel beside masks: the distance, and what is filtered and sorted of it


class Smoothing(Postprocessor):
    """Smooth the outline of a label and keep its volume.

    The signed distance to the outline is blurred with a Gaussian, and the label becomes the highest values of
    it: as many voxels as it had, so that it neither shrinks nor swells, as it would at a fixed threshold.
    Steps between slices, spikes and notches smaller than about the Gaussian go; so do parts and vessels
    thinner than it, whose voxels then lie on the outline of what is left. Only background is taken, never
    another label: where other labels are in the way the label grows elsewhere instead. An organ cut by the
    border of the image is not rounded off there.
    """

    takes_objects: ClassVar[bool] = False

    sigma_mm: float = Field(gt=0, le=50)
    """Standard deviation of the Gaussian, in mm; below half of a spacing it does nothing along that axis."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """What masks take and the field beside, at most on the whole image."""
        more = FIELD_BYTES * math.prod(segmentation.grid.shape)
        return super().work_bytes(segmentation, volume) + more

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with smoother labels; an image of one slice is smoothed within it."""
        grid = segmentation.grid
        grid.require_mm("sigma_mm of smooth-surface")
        require_right_angles(grid, step="smooth-surface")
        sigma = [0.0 if n == 1 else self.sigma_mm / s for n, s in zip(grid.shape, grid.spacing, strict=True)]
        around = [math.ceil(TRUNCATE * s) + 1 for s in sigma]

        def smoothed(mask: Mask, free: Mask) -> Mask:
            if mask.all():
                return mask
            field = smoothed_distance(mask, grid.spacing, sigma)
            return _highest(field, mask | free, int(np.count_nonzero(mask)))

        return repaint_among(segmentation, self.labels, smoothed, around=around)


def _highest(field: NDArray[np.float32], allowed: Mask, count: int) -> Mask:
    """The `count` allowed voxels of the highest values; of equal ones those of the lowest index."""
    where = np.flatnonzero(allowed)
    values = field.reshape(-1)[where]
    least = np.partition(values, len(values) - count)[len(values) - count]
    chosen = values > least
    tied = np.flatnonzero(values == least)
    chosen[tied[: count - int(np.count_nonzero(chosen))]] = True
    result = np.zeros(field.size, bool)
    result[where[chosen]] = True
    return result.reshape(field.shape)
