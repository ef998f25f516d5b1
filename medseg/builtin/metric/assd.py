"""The average distance between two surfaces."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from medseg.builtin.metric.label_pair import label_pairs
from medseg.builtin.metric.surface_elements import Surface, surface_parts
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Assd"]


class Assd(Metric):
    """`assd` of each label: the mean distance from either surface to the other; 0 is best.

    One mean over both surfaces, so that the larger one counts more, in mm, or px for pictures without a
    scale. Every piece of a surface counts by its area in mm2 (in an image of one slice by its length),
    whatever the voxels' shape. Pieces lie at `corners` of voxels, as in the library surface-distance; that
    makes surfaces up to a voxel thick and distances up to half a voxel too small. In `patches` they lie where
    the surface is. With `voxels` every surface voxel counts the same, as in MONAI's
    `compute_average_surface_distance` with `symmetric=True`.

    A label that is absent from the prediction, the reference or both has no value and a flag that says from
    which.

    Heimann T et al. Comparison and evaluation of methods for liver segmentation from CT datasets. IEEE
    Transactions on Medical Imaging 28 (2009) 1251-1265.
    """

    better: ClassVar[Literal["high", "low"]] = "low"

    surface: Surface = "corners"
    """What surfaces are made of: pieces of known area at `corners` of voxels or in `patches`, or `voxels`."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        unit = reference.grid.unit
        for pair in label_pairs(prediction, reference):
            value = None
            if not pair.absent:
                parts = surface_parts(pair, self.surface)
                way = sum(float(part.distances @ part.sizes) for part in parts)
                value = way / sum(float(part.sizes.sum()) for part in parts)
            yield Measured(label=pair.label, quantity="assd", value=value, unit=unit, flag=pair.absent)
