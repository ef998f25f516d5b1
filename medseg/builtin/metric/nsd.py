"""Normalised surface distance, also called surface Dice: how much of two surfaces is close to the other."""

from collections.abc import Iterable

from pydantic import Field

from medseg.builtin.metric.label_pair import label_pairs
from medseg.builtin.metric.surface_elements import Surface, surface_parts
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Nsd"]

ROUNDING_MM = 1e-6  # a distance that equals the tolerance on paper may be beyond it in floating point


class Nsd(Metric):
    """`nsd@1mm` of each label: the share of both surfaces within a tolerance of the other; 1 is best.

    The tolerance is the error that does not matter, best what two experts differ by, and is said with the
    number: `nsd@2.5mm` is that with `tolerance_mm: 2.5`. Surfaces count by their area in mm2 (in an image
    of one slice by their length). Their pieces lie at `corners` of voxels, as in the library
    surface-distance that defines the metric and in MONAI's `compute_surface_dice` with
    `use_subvoxels=True`, or in `patches`, where the surface is; with `voxels` every surface voxel counts
    the same, as in MONAI without it. A tolerance below the voxels' size tells masks apart only by whether
    their surfaces are the same. Needs millimetres: pictures without a scale are refused.

    A label that is absent from both has no value and the flag "absent from both"; absent from one of them it
    is 0, as no surface is near, and the flag says from which.

    Nikolov S et al. Clinically applicable segmentation of head and neck anatomy for radiotherapy. Journal of
    Medical Internet Research 23 (2021) e26151.
    """

    tolerance_mm: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """How far apart surfaces may be and count as the same; within it, or exactly as far."""

    surface: Surface = "corners"
    """What surfaces are made of: pieces of known area at `corners` of voxels or in `patches`, or `voxels`."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        reference.grid.require_mm("nsd")
        for pair in label_pairs(prediction, reference):
            value = None if pair.absent == "absent from both" else 0.0
            if not pair.absent:
                parts = surface_parts(pair, self.surface)
                near = [part.distances <= self.tolerance_mm + ROUNDING_MM for part in parts]
                close = sum(float(part.sizes[here].sum()) for part, here in zip(parts, near, strict=True))
                value = close / sum(float(part.sizes.sum()) for part in parts)
            quantity = f"nsd@{self.tolerance_mm:g}mm"
            yield Measured(label=pair.label, quantity=quantity, value=value, flag=pair.absent)
