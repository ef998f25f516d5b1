"""Panoptic quality: how many objects were found, times how well they were outlined."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.metric.counts import share
from medseg.builtin.metric.object_pair import object_pairs
from medseg.components import Connectivity
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["PanopticQuality"]

MATCH = 0.5  # beyond it no object can have two partners, as they do not overlap


class PanopticQuality(Metric):
    """`pq`, `sq` and `rq` of each label: PQ = SQ x RQ, of objects matched where their IoU exceeds 0.5.

    `sq` (segmentation quality) is the mean IoU of the pairs, `rq` (recognition quality) is TP / (TP + FP/2 +
    FN/2). The counts `pq-tp`, `pq-fp` and `pq-fn` and the sum `pq-iou-sum` are given too; the summary's
    `pooled` is made of their sums over all cases, which is PQ as it was defined; `mean` is that of the cases.
    Objects are the mask's where it has some, else connected parts.

    A label that is absent from both has no value and the flag "absent from both"; absent from one of them
    `pq` and `rq` are 0, and the flag says from which. Without a pair there is no `sq`.

    Kirillov A et al. Panoptic segmentation. CVPR 2019.
    """

    connectivity: Connectivity = 26
    """Voxels that share a face (6), an edge too (18) or a corner too (26) are of one object."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield seven rows for each label of the reference's table."""
        for objects in object_pairs(prediction, reference, self.connectivity):
            pairs = objects.iou[objects.iou > MATCH]
            tp, quality = len(pairs), float(pairs.sum())
            fp, fn = len(objects.found) - tp, len(objects.wanted) - tp
            around = tp + fp / 2 + fn / 2
            for quantity, value in (
                ("pq", share(quality, around)),
                ("sq", share(quality, tp)),
                ("rq", share(tp, around)),
                ("pq-tp", tp),
                ("pq-fp", fp),
                ("pq-fn", fn),
                ("pq-iou-sum", quality),
            ):
                yield Measured(label=objects.label, quantity=quantity, value=value, flag=objects.absent)

    def pooled(self, sums: Mapping[str, NDArray[np.float64]]) -> Mapping[str, NDArray[np.float64]]:
        """The same of the objects of all cases; NaN where there is none."""
        tp, quality = sums["pq-tp"], sums["pq-iou-sum"]
        around = tp + (sums["pq-fp"] + sums["pq-fn"]) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"pq": quality / around, "sq": quality / tp, "rq": tp / around}
