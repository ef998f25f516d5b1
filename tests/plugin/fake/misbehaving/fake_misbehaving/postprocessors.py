"""Postprocessors that break their contract."""

from typing import Any

import numpy as np

from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume


class MovesGrid(Postprocessor):
    """Return labels on another grid."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        return segmentation.replace(grid=Grid(segmentation.grid.shape, np.diag([7.0, 7.0, 7.0, 1.0])))


class LosesLabels(Postprocessor):
    """Return a bare mask."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Any:
        return segmentation.array > 0


class InventsLabel(Postprocessor):
    """Return a value that no label has."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        return segmentation.replace(array=np.full_like(segmentation.array, 9))


class WritesLabels(Postprocessor):
    """Write into the input."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        segmentation.array[:] = 0
        return segmentation
