"""Specificity: how much of what is not a label was left alone."""

from collections.abc import Iterable

from medseg.builtin.metric.counts import counts_of, share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Specificity"]


class Specificity(Metric):
    """`specificity` of each label: TN / (TN + FP), over all voxels of the image.

    It depends on how much empty space the image holds: the same error in a larger field of view scores
    higher, and for a label much smaller than the image it is near 1 whatever was found. Compare it within
    images of one kind only.

    It has a value for absent labels too, as their background can be right or wrong: 1 where the label is
    absent from the prediction, and below where it is absent from the reference alone; the flag says from
    which. A reference that fills the image has no background, and no value.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        for pair in label_pairs(prediction, reference):
            n = counts_of(pair)
            value = share(n.tn, n.tn + n.fp)
            yield Measured(label=pair.label, quantity="specificity", value=value, flag=pair.absent)
