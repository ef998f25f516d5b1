"""The smallest box around each label, so that only there anything is compared, copied or counted."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = ["Box", "box_of", "cut_out", "label_boxes"]

HIGHEST_SEARCHED = 1 << 16  # find_objects keeps a slot for every value up to the highest

Box = tuple[slice, slice, slice]


def label_boxes(segmentation: Segmentation) -> Mapping[str, Box | None]:
    """The smallest box around each label by name: in one pass over a layer if values allow. None: empty."""
    from scipy import ndimage

    boxes: dict[str, Box | None] = {}
    for layer, kind in enumerate(segmentation.kinds):
        labels = [label for label in segmentation.labels if label.layer == layer]
        highest = max((label.value for label in labels), default=0)
        if kind == "labels" and 0 < highest < HIGHEST_SEARCHED:
            found = ndimage.find_objects(segmentation.array[layer], max_label=highest)
            boxes |= {label.name: found[label.value - 1] for label in labels}
        else:
            boxes |= {label.name: box_of(segmentation.mask(label.name)) for label in labels}
    return boxes


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box around a mask `[i, j, k]`; None where it is empty."""
    box = []
    for others in ((1, 2), (0, 2), (0, 1)):
        where = np.flatnonzero(mask.any(axis=others))
        if len(where) == 0:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return box[0], box[1], box[2]


def cut_out(segmentation: Segmentation, label: str, box: Box) -> tuple[NDArray[np.bool_], Grid]:
    """A label's mask in a box, and the box's own grid; the volume may be far larger than the label."""
    part = segmentation.replace(
        array=segmentation.array[(slice(None), *box)],
        grid=segmentation.grid.cropped([s.start for s in box], [s.stop for s in box]),
    )
    return part.mask(label), part.grid
