"""The two masks of each label, prediction and reference, cropped to the box around both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import crop, label_boxes
from medseg.extent import Box
from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = ["LabelPair", "label_pairs"]


@dataclass(frozen=True, eq=False)
class LabelPair:
    """One label in both: masks `[i, j, k]`, cropped together, and the grid they were cropped from.

    A label that is absent from both has masks of one voxel. What lies outside the crop is background; at its
    border may be the border of the image. `box` is where the crop lies.
    """

    label: str
    prediction: NDArray[np.bool_] = field(repr=False)
    reference: NDArray[np.bool_] = field(repr=False)
    grid: Grid
    box: Box = (slice(None), slice(None), slice(None))

    @property
    def absent(self) -> str:
        """The flag of a label that one or both do not have: "absent from both" and the like; "" if none."""
        there = bool(self.prediction.any()), bool(self.reference.any())
        return {
            (False, False): "absent from both",
            (False, True): "absent from prediction",
            (True, False): "absent from reference",
            (True, True): "",
        }[there]


def label_pairs(prediction: Segmentation, reference: Segmentation) -> Iterator[LabelPair]:
    """The masks of each label of the reference's table, in its order; both lie on one grid."""
    found, wanted = label_boxes(prediction), label_boxes(reference)
    for label in reference.labels:
        boxes = [box for box in (found.get(label.name), wanted[label.name]) if box is not None]
        box = _around(boxes) if boxes else (slice(0, 1),) * 3
        masks = []
        for segmentation in (prediction, reference):
            part = crop(segmentation, box)
            known = label.name in segmentation.labels
            masks.append(part.mask(label.name) if known else np.zeros(part.grid.shape, bool))
        yield LabelPair(label.name, masks[0], masks[1], reference.grid, box)


def _around(boxes: list[Box]) -> Box:
    """The smallest box around boxes."""
    i, j, k = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(3)
    )
    return i, j, k
