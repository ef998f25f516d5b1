"""The postprocessor `open`."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.ball import Ball
from medseg.builtin.postprocess.repaint import repaint
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume

__all__ = ["Opening"]


class Opening(Postprocessor):
    """Remove parts of a label thinner than about twice a radius in mm.

    What remains is what a ball of that radius can reach without leaving the label: bridges to neighbouring
    structures, spikes and thin sheets go, the rest keeps its outline but for corners sharper than the ball.
    The ball is exact in Euclidean distance between voxel centres, whatever the spacing. An organ cut by the
    border of the image is taken to go on beyond it, so it is not rounded off there. What is removed becomes
    background.
    """

    takes_objects: ClassVar[bool] = False

    radius_mm: float = Field(gt=0, le=100)
    """Radius of the ball, in mm; one smaller than the finest spacing changes nothing."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation without thin parts; an image of one slice is opened within it."""
        ball = Ball(self.radius_mm, segmentation.grid, step="open")

        def opened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
            return ball.dilated(ball.eroded(mask))

        return repaint(segmentation, self.labels, opened)
