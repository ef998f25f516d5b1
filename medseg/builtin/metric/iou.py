"""Intersection over union: Jaccard's index of each label."""

from collections.abc import Iterable

from medseg.builtin.metric.counts import counts_of, share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Iou"]


class Iou(Metric):
    """`iou` of each label: TP / (TP + FP + FN), over voxels; 1 where both masks are the same.

    Never more than Dice, of which it is D / (2 - D). The summary's row "(mean of labels)" is the mean IoU
    (mIoU) of what is not background: of each label the mean over cases, of these the mean.

    A label that is absent from both has no value and the flag "absent from both"; absent from one of them it
    is 0, and the flag says from which.

    Jaccard P. The distribution of the flora in the alpine zone. New Phytologist 11 (1912) 37-50.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        for pair in label_pairs(prediction, reference):
            n = counts_of(pair)
            value = share(n.tp, n.union)
            yield Measured(label=pair.label, quantity="iou", value=value, flag=pair.absent)
