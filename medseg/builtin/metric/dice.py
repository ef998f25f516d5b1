"""Dice's coefficient: how much of two masks is common to both."""

from collections.abc import Iterable

import numpy as np

from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Dice"]


class Dice(Metric):
    """`dice` of each label: 2 TP / (2 TP + FP + FN), over voxels; 1 where both masks are the same.

    A label that is absent from both has no value and the flag "absent from both": a case without a tumour,
    rightly found to have none, says nothing of how well tumours are delineated, and a 1 for it would. Absent
    from one of them it is 0, and the flag says from which: a whole structure was missed or made up.

    Dice LR. Measures of the amount of ecologic association between species. Ecology 26 (1945) 297-302.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        for pair in label_pairs(prediction, reference):
            common = int(np.count_nonzero(pair.prediction & pair.reference))
            voxels = int(np.count_nonzero(pair.prediction)) + int(np.count_nonzero(pair.reference))
            value = 2 * common / voxels if voxels else None
            yield Measured(label=pair.label, quantity="dice", value=value, flag=pair.absent)
