"""A mask on which metrics are tried before an image is read: which quantities they give."""

from __future__ import annotations

import numpy as np

from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

__all__ = ["cube"]


def cube() -> Segmentation:
    """A cube of 8 mm, the label "cube", amid 16 voxels of 1 mm along each axis."""
    mask = np.pad(np.ones((8, 8, 8), bool), 4)
    return Segmentation.from_masks(
        {"cube": mask}, Grid(mask.shape, np.eye(4)), LabelTable((Label(1, "cube"),))
    )
