"""The Hausdorff distance without its outliers: the 95th percentile of distances between surfaces."""

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np

from medseg.builtin.metric.label_pair import label_pairs
from medseg.builtin.metric.surface import surface_distances
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Hd95"]

PERCENT = 95


class Hd95(Metric):
    """`hd95` of each label: how far apart the two surfaces are, but for the farthest 5 %; 0 is best.

    The distance of every surface voxel of the prediction to the nearest surface voxel of the reference, and
    the other way round; of each direction the 95th percentile (linear between ranks), of these the larger.
    In mm between voxel centres, whatever the voxels' shape and the grid's direction; in px for pictures
    without a scale. Surface voxels have one of their 6 neighbours outside the mask, in an image of one slice
    one of their 4 in the plane; the border of the image counts as outside. MONAI's
    `compute_hausdorff_distance` with `percentile=95` gives the same.

    A label that is absent from the prediction, the reference or both has no value, as its distance would be
    infinite or none, and a flag that says from which. A mean over cases is thus of the cases in which it was
    found: read it beside Dice, where one that was missed counts as 0.
    """

    better: ClassVar[Literal["high", "low"]] = "low"

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        unit = reference.grid.unit
        for pair in label_pairs(prediction, reference):
            value = None
            if not pair.absent:
                value = max(float(np.percentile(each, PERCENT)) for each in surface_distances(pair))
            yield Measured(label=pair.label, quantity="hd95", value=value, unit=unit, flag=pair.absent)
