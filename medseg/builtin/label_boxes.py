"""The smallest box around each label, so that only there anything is compared, copied or counted."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from medseg.extent import Box, extent
from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = ["crop", "cut_out", "label_boxes"]

HIGHEST_SEARCHED = 1 << 16  # find_objects keeps a slot for every value up to the highest

_found: WeakKeyDictionary[Segmentation, Mapping[str, Box | None]] = WeakKeyDictionary()


def label_boxes(segmentation: Segmentation) -> Mapping[str, Box | None]:
    """The smallest box around each label by name: in one pass over a layer if values allow. None: empty.

    Found once for all measurements of a segmentation, which never changes.
    """
    if segmentation not in _found:
        _found[segmentation] = _boxes(segmentation)
    return _found[segmentation]


def _boxes(segmentation: Segmentation) -> Mapping[str, Box | None]:
    boxes: dict[str, Box | None] = {}
    for layer, kind in enumerate(segmentation.kinds):
        labels = [label for label in segmentation.labels if label.layer == layer]
        highest = max((label.value for label in labels), default=0)
        if kind == "labels" and 0 < highest < HIGHEST_SEARCHED:
            found = _boxes_by_value(segmentation.array[layer], highest)
            boxes |= {label.name: found[label.value - 1] for label in labels}
        else:
            boxes |= {label.name: extent(segmentation.mask(label.name)) for label in labels}
    return boxes


def _boxes_by_value(layer: NDArray[Any], highest: int) -> list[Box | None]:
    """The box of each value from 1 on, read in the order in which the layer lies in memory."""
    from scipy import ndimage

    if not layer.flags.f_contiguous:
        return list(ndimage.find_objects(layer, max_label=highest))
    turned = ndimage.find_objects(layer.T, max_label=highest)
    return [None if box is None else (box[2], box[1], box[0]) for box in turned]


def crop(segmentation: Segmentation, box: Box) -> Segmentation:
    """The voxels of a box, on its own grid."""
    return segmentation.replace(
        array=segmentation.array[(slice(None), *box)],
        grid=segmentation.grid.cropped([s.start for s in box], [s.stop for s in box]),
    )


def cut_out(segmentation: Segmentation, label: str, box: Box) -> tuple[NDArray[np.bool_], Grid]:
    """A label's mask in a box, and the box's own grid; the volume may be far larger than the label."""
    part = crop(segmentation, box)
    return part.mask(label), part.grid
