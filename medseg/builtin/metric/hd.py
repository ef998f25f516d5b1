"""The Hausdorff distance: how far the worst point of two surfaces is from the other surface."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from medseg.builtin.metric.label_pair import label_pairs
from medseg.builtin.metric.surface import surface_distances
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Hd"]


class Hd(Metric):
    """`hd` of each label: the largest distance from a surface voxel of one mask to the other; 0 is best.

    One voxel far away decides it: `hd95` leaves out the farthest 5 %. Surface voxels, distances and units
    are those of `hd95`; MONAI's `compute_hausdorff_distance` gives the same.

    A label that is absent from the prediction, the reference or both has no value, as its distance would be
    infinite or none, and a flag that says from which.

    Hausdorff F. Grundzüge der Mengenlehre. Veit, Leipzig 1914.
    """

    better: ClassVar[Literal["high", "low"]] = "low"

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        unit = reference.grid.unit
        for pair in label_pairs(prediction, reference):
            value = None if pair.absent else max(float(each.max()) for each in surface_distances(pair))
            yield Measured(label=pair.label, quantity="hd", value=value, unit=unit, flag=pair.absent)
