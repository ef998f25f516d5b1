"""The two masks of each label, prediction and reference, cropped to the box around both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = ["LabelPair", "label_pairs"]

HIGHEST_SEARCHED = 1 << 16  # find_objects keeps a slot for every value up to the highest

Box = tuple[slice, slice, slice]


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
    found, wanted = _boxes(prediction), _boxes(reference)
    for label in reference.labels:
        boxes = [box for box in (found.get(label.name), wanted[label.name]) if box is not None]
        box = _around(boxes) if boxes else (slice(0, 1),) * 3
        crop = (slice(None), *box)
        start, stop = [part.start for part in box], [part.stop for part in box]
        here = reference.grid.cropped(start, stop)
        masks = []
        for segmentation in (prediction, reference):
            part = segmentation.replace(array=segmentation.array[crop], grid=here)
            known = label.name in segmentation.labels
            masks.append(part.mask(label.name) if known else np.zeros(here.shape, bool))
        yield LabelPair(label.name, masks[0], masks[1], reference.grid, box)


def _around(boxes: list[Box]) -> Box:
    """The smallest box around boxes."""
    i, j, k = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(3)
    )
    return i, j, k


def _boxes(segmentation: Segmentation) -> dict[str, Box | None]:
    """The smallest box around each label by name, None where it is empty; one pass over a layer of labels."""
    from scipy import ndimage

    boxes: dict[str, Box | None] = {}
    for layer, kind in enumerate(segmentation.kinds):
        labels = [label for label in segmentation.labels if label.layer == layer]
        highest = max((label.value for label in labels), default=0)
        if kind == "labels" and 0 < highest < HIGHEST_SEARCHED:
            found = ndimage.find_objects(segmentation.array[layer], max_label=highest)
            boxes |= {label.name: found[label.value - 1] for label in labels}
        else:
            boxes |= {label.name: _box_of(segmentation.mask(label.name)) for label in labels}
    return boxes


def _box_of(mask: NDArray[np.bool_]) -> Box | None:
    box = []
    for others in ((1, 2), (0, 2), (0, 1)):
        where = np.flatnonzero(mask.any(axis=others))
        if len(where) == 0:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return box[0], box[1], box[2]
