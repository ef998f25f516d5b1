"""Average precision of objects, as it is defined where objects have no scores."""

import statistics
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, field_validator

from medseg.builtin.metric.counts import share
from medseg.builtin.metric.object_pair import matched, object_pairs
from medseg.components import Connectivity
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["AveragePrecision"]


class AveragePrecision(Metric):
    """`ap@0.50` and so on of each label, TP / (TP + FP + FN) of objects by IoU, and `map`, their mean.

    This is the score of the 2018 Data Science Bowl, of StarDist and of Cellpose. It is not the area under a
    curve of precision over recall, as in COCO, which needs a score for every object: masks have none. Pairs
    have at least the IoU of the threshold, no object is in more than one, and there are as many as there can
    be. Objects are the mask's where it has some, else connected parts. The mean over images is the summary's
    `mean`.

    A label that is absent from both has no value and the flag "absent from both"; absent from one of them it
    is 0, and the flag says from which.

    Caicedo JC et al. Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl. Nature
    Methods 16 (2019) 1247-1253.
    """

    thresholds: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95), min_length=1
    )
    """The least IoU of a pair, for each row; of two decimals at most, as rows are named by them."""

    connectivity: Connectivity = 26
    """Voxels that share a face (6), an edge too (18) or a corner too (26) are of one object."""

    @field_validator("thresholds")
    @classmethod
    def _have_names(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        for threshold in thresholds:
            if abs(threshold - round(threshold, 2)) > 1e-9:
                raise ValueError(f"{threshold:g} has more than two decimals, which rows have no names for")
        return tuple(round(threshold, 2) for threshold in thresholds)

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield a row for each label of the reference's table and threshold, and their mean."""
        for objects in object_pairs(prediction, reference, self.connectivity):
            found, wanted = len(objects.found), len(objects.wanted)
            values = {}
            for threshold in dict.fromkeys(self.thresholds):
                tp = matched(objects, threshold)
                values[f"ap@{threshold:.2f}"] = share(tp, found + wanted - tp)
            known = [value for value in values.values() if value is not None]
            mean = statistics.fmean(known) if known else None
            for quantity, value in (values | {"map": mean}).items():
                yield Measured(label=objects.label, quantity=quantity, value=value, flag=objects.absent)
