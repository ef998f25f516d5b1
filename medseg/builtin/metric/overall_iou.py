"""Intersection over union of all cases at once: what they have in common over what either has."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.metric.counts import counts_of
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["OverallIou"]


class OverallIou(Metric):
    """`overall-iou` of each label over all cases: the sum of intersections over the sum of unions.

    Large cases count more than small ones, and an error of one voxel counts the same in any of them; in the
    mean of `iou` each case counts the same. It is a number of all cases together and has no value in one: a
    case has the sums that it adds, `intersection` and `union`, in mL, so that cases of different voxels
    add up (in px for pictures without a scale). The summary has the ratio, in the column `pooled`.

    A label that is absent from both adds nothing and is flagged; absent from one of them, it adds a union
    without an intersection. A label without a union in any case has no value.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield two rows for each label of the reference's table: intersection and union."""
        in_mm = reference.grid.unit == "mm"
        size, unit = (reference.grid.voxel_ml, "mL") if in_mm else (1.0, "px")
        for pair in label_pairs(prediction, reference):
            n = counts_of(pair)
            for quantity, count in (("intersection", n.tp), ("union", n.union)):
                yield Measured(
                    label=pair.label, quantity=quantity, value=count * size, unit=unit, flag=pair.absent
                )

    def pooled(self, sums: Mapping[str, NDArray[np.float64]]) -> Mapping[str, NDArray[np.float64]]:
        """The ratio of sums over cases; NaN where there is no union."""
        intersection, union = sums["intersection"], sums["union"]
        nowhere = np.full(union.shape, np.nan)
        return {"overall-iou": np.divide(intersection, union, out=nowhere, where=union > 0)}
