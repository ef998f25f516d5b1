"""Sensitivity, also called recall: how much of a label was found."""

from collections.abc import Iterable

from medseg.builtin.metric.counts import counts_of, share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Sensitivity"]


class Sensitivity(Metric):
    """`sensitivity` of each label: TP / (TP + FN), the share of the reference's voxels that were found.

    It says nothing of what was found beside them: a mask of the whole image has 1. Read it beside
    `specificity` or, as that is near 1 whenever a label is small, beside `dice`.

    A label that is absent from the reference has no value, whatever was found, and a flag that says so;
    absent from the prediction alone it is 0 and flagged.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        for pair in label_pairs(prediction, reference):
            n = counts_of(pair)
            value = share(n.tp, n.tp + n.fn)
            yield Measured(label=pair.label, quantity="sensitivity", value=value, flag=pair.absent)
