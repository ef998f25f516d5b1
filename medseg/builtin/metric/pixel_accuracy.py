"""Pixel accuracy: how many voxels are on the right side."""

from collections.abc import Iterable

from medseg.builtin.metric.counts import counts_of, share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["PixelAccuracy"]


class PixelAccuracy(Metric):
    """`pixel-accuracy` of each label: (TP + TN) / all voxels of the image, as if the label were the only one.

    Of little use where a label is small, and reported because it is asked for: a prediction without any
    label scores 0.95 where the label takes 5 % of the image, and more in a larger field of view. Read it
    beside `dice`.

    It has a value for every label: 1 where it is absent from both, and the flag says from which it is absent.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        for pair in label_pairs(prediction, reference):
            n = counts_of(pair)
            value = share(n.tp + n.tn, n.union + n.tn)
            yield Measured(label=pair.label, quantity="pixel-accuracy", value=value, flag=pair.absent)
