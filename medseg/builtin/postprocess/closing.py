"""The postprocessor `close`."""

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.ball import Ball
from medseg.builtin.postprocess.repaint import repaint
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume

__all__ = ["Closing"]


class Closing(Postprocessor):
    """Close gaps of a label narrower than about twice a radius in mm.

    Gaps, cracks and notches are filled where a ball of that radius does not fit between the parts; the
    outer outline stays. The ball is exact in Euclidean distance between voxel centres, whatever the
    spacing. Beyond the border of the image counts as background: nothing is lost there, and no gap to the
    border is filled. Only background is taken, never another label.
    """

    takes_objects: ClassVar[bool] = False

    radius_mm: float = Field(gt=0, le=100)
    """Radius of the ball, in mm; one smaller than the finest spacing changes nothing."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """What masks take on the image and the room around it."""
        reach = Ball(self.radius_mm, segmentation.grid, step="close").reach
        shape = segmentation.grid.shape
        wider = math.prod(size + 2 * n for size, n in zip(shape, reach, strict=True))
        return super().work_bytes(segmentation, volume) * wider // math.prod(shape)

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with gaps closed; an image of one slice is closed within it."""
        ball = Ball(self.radius_mm, segmentation.grid, step="close")

        def closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
            # room for the dilation, so that the erosion takes back all of it
            room = [(n, n) for n in ball.reach]
            grown = ball.dilated(np.pad(mask, room))
            inner = tuple(slice(n, n + size) for n, size in zip(ball.reach, mask.shape, strict=True))
            return ball.eroded(grown)[inner]

        return repaint(segmentation, self.labels, closed)
