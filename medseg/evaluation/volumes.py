"""How large each label is in a prediction and in its reference."""

from __future__ import annotations

import numpy as np

from medseg.report.agreement import VolumePair
from medseg.segmentation import Segmentation

__all__ = ["volume_pairs"]

HIGHEST_COUNTED = 1 << 16


def volume_pairs(case: str, prediction: Segmentation, reference: Segmentation) -> tuple[VolumePair, ...]:
    """The volumes in mL of each label of the reference's table, or in px where the grid has no scale."""
    in_mm = reference.grid.unit == "mm"
    size, unit = (reference.grid.voxel_ml, "mL") if in_mm else (1.0, "px")
    found, wanted = _voxels(prediction), _voxels(reference)
    return tuple(
        VolumePair(case, label.name, size * found.get(label.name, 0), size * wanted[label.name], unit)
        for label in reference.labels
    )


def _voxels(segmentation: Segmentation) -> dict[str, int]:
    """How many voxels each label has; all labels of a layer are counted at once, slice by slice."""
    counts: dict[str, int] = {}
    for layer, kind in enumerate(segmentation.kinds):
        labels = [label for label in segmentation.labels if label.layer == layer]
        array = segmentation.array[layer]
        if kind == "labels" and labels and array.max(initial=0) < HIGHEST_COUNTED:
            length = 1 + max(int(array.max(initial=0)), *(label.value for label in labels))
            there = sum(
                (np.bincount(plane.ravel(), minlength=length) for plane in array), np.zeros(length, np.int64)
            )
            counts |= {label.name: int(there[label.value]) for label in labels}
        else:
            counts |= {label.name: int(np.count_nonzero(segmentation.mask(label.name))) for label in labels}
    return counts
