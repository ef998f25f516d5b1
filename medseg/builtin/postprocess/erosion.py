"""The postprocessor `erode`."""

from typing import ClassVar

from pydantic import Field

from medseg.builtin.postprocess.ball import Ball
from medseg.builtin.postprocess.repaint import repaint
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume

__all__ = ["Erosion"]


class Erosion(Postprocessor):
    """Take a rim of a radius in mm off a label.

    What stays is at least that far from the outside: a safe inside to measure intensities in, say. The
    distance is exact between voxel centres, whatever the spacing. An organ cut by the border of the image is
    taken to go on beyond it, so it keeps its voxels there. What is removed becomes background. A label that
    is nowhere thicker than twice the radius is gone.
    """

    takes_objects: ClassVar[bool] = False

    radius_mm: float = Field(gt=0, le=100)
    """How much is taken off, in mm; less than the finest spacing changes nothing."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with smaller labels; an image of one slice is eroded within it."""
        ball = Ball(self.radius_mm, segmentation.grid, step="erode")
        return repaint(segmentation, self.labels, ball.eroded)
