"""How wrong a volume is: by how much, in which direction, and as a share of the true one."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from medseg.builtin.metric.counts import counts_of, share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["VolumeError"]


class VolumeError(Metric):
    """Four rows of each label, of the prediction's volume less the reference's.

    `volume-bias` in mL with its sign, positive where too much was found: its mean over cases is the bias;
    `volume-error` in mL without its sign; `relative-volume-bias` and `relative-volume-error` the same in per
    cent of the reference's volume. Volumes are counts of voxels times their size. They say nothing of where
    the label is: a mask in the wrong place has no error if it is as large. Needs millimetres: pictures
    without a scale are refused.

    A label that is absent from both has no value and the flag "absent from both". Absent from the prediction
    the error is the whole volume, 100 %; absent from the reference it is what was found, and in per cent of
    nothing it has no value. The flag says from which.
    """

    better: ClassVar[Literal["high", "low"]] = "low"

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield four rows for each label of the reference's table."""
        voxel_ml = reference.grid.voxel_ml
        for pair in label_pairs(prediction, reference):
            n = counts_of(pair)
            more = share((n.fp - n.fn) * voxel_ml, 1 if n.union else 0)
            part = share(100 * (n.fp - n.fn), n.tp + n.fn)
            for quantity, value, unit in (
                ("volume-bias", more, "mL"),
                ("volume-error", None if more is None else abs(more), "mL"),
                ("relative-volume-bias", part, "%"),
                ("relative-volume-error", None if part is None else abs(part), "%"),
            ):
                yield Measured(label=pair.label, quantity=quantity, value=value, unit=unit, flag=pair.absent)
