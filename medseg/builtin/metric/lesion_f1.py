"""How many lesions were found, and how many of those found are some: F1, precision and recall of objects."""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.metric.counts import share
from medseg.builtin.metric.object_pair import ObjectPair, matched, object_pairs
from medseg.components import Connectivity
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["LesionF1"]

COUNTS = ("lesions-detected", "lesions-missed", "lesions-true", "lesions-false")


class LesionF1(Metric):
    """`lesion-f1`, `lesion-precision` and `lesion-recall` of each label, with the counts that they come from.

    A lesion is a connected part of the mask, or an object where the mask has objects. The rule of matching
    decides the numbers, and must be said with them:

    - `match: overlap`: a lesion of the reference is detected if the prediction covers at least `threshold` of
      its voxels, a lesion of the prediction is true if the reference covers as much of it; one voxel at
      least, and with a threshold of 0 any voxel. One that covers two detects both.
    - `match: iou`: pairs with an IoU of at least `threshold`, no lesion in more than one, as many as there
      can be. Both counts, detected and true, are the number of pairs.

    Recall is detected / (detected + missed), precision is true / (true + false), F1 their harmonic mean:
    with `iou` it is 2 TP / (2 TP + FP + FN). The summary has all three of each case (`mean`) and of the
    lesions of all cases together (`pooled`).

    A label that is absent from both has no value and the flag "absent from both"; its counts are 0. Absent
    from the prediction, recall and F1 are 0 and there is no precision; absent from the reference, precision
    and F1 are 0 and there is no recall.
    """

    match: Literal["overlap", "iou"] = "overlap"
    """What makes two lesions the same: that one covers enough of the other, or their IoU."""

    threshold: float = Field(default=0.0, ge=0, le=1)
    """The least share of a lesion that is covered, or the least IoU."""

    connectivity: Connectivity = 26
    """Voxels that share a face (6), an edge too (18) or a corner too (26) are of one lesion."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield seven rows for each label of the reference's table."""
        for objects in object_pairs(prediction, reference, self.connectivity):
            detected, true = self._matched(objects)
            counts = (detected, len(objects.wanted) - detected, true, len(objects.found) - true)
            recall = share(detected, len(objects.wanted))
            precision = share(true, len(objects.found))
            f1 = None if objects.absent == "absent from both" else _harmonic(precision or 0.0, recall or 0.0)
            rates = {"lesion-f1": f1, "lesion-precision": precision, "lesion-recall": recall}
            for quantity, value in (rates | dict(zip(COUNTS, counts, strict=True))).items():
                yield Measured(label=objects.label, quantity=quantity, value=value, flag=objects.absent)

    def _matched(self, objects: ObjectPair) -> tuple[int, int]:
        """How many of the reference are detected, how many of the prediction are true."""
        if self.match == "iou":
            pairs = matched(objects, self.threshold)
            return pairs, pairs
        counts = []
        for sizes, places in ((objects.wanted, objects.theirs), (objects.found, objects.ours)):
            covered = np.bincount(places, objects.common, minlength=len(sizes))
            enough = (covered > 0) & (covered >= self.threshold * sizes)
            counts.append(int(np.count_nonzero(enough)))
        return counts[0], counts[1]

    def pooled(self, sums: Mapping[str, NDArray[np.float64]]) -> Mapping[str, NDArray[np.float64]]:
        """The same rates of the lesions of all cases; NaN where there is none."""
        detected, missed, true, false = (sums[name] for name in COUNTS)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, precision = detected / (detected + missed), true / (true + false)
            ours, theirs = np.nan_to_num(precision), np.nan_to_num(recall)
            f1 = np.where(ours + theirs > 0, 2 * ours * theirs / (ours + theirs), 0.0)
            f1 = np.where(detected + missed + true + false > 0, f1, np.nan)
        return {"lesion-f1": f1, "lesion-precision": precision, "lesion-recall": recall}


def _harmonic(one: float, other: float) -> float:
    """The harmonic mean; 0 where one is."""
    return share(2 * one * other, one + other) or 0.0
