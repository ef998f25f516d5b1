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

HIGHEST_SEARCHED = 1 << 16  # there is a place for every value up to the highest
CHUNK_VOXELS = 1 << 22
LEAST_RUN = 16  # voxels on average; of shorter runs there are too many to be worth while

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
    """The box of each value from 1 on, read in the order in which the layer lies in memory.

    Voxels are compared with those before them, and only where one differs, a run of equal ones, anything else
    is done: five times as fast as looking at each voxel. Noise has too many runs, and is left to SciPy.
    """
    from_last = layer.flags.f_contiguous
    turned = layer.T if from_last else layer
    low = np.full((3, highest + 1), max(turned.shape), np.int64)
    high = np.full((3, highest + 1), -1, np.int64)
    thick = max(1, CHUNK_VOXELS // turned[0].size)
    for start in range(0, len(turned), thick):
        piece = turned[start : start + thick]
        values, first, last = _runs(piece, highest) or _searched(piece, highest)
        first[0] += start
        last[0] += start
        for axis in range(3):
            np.minimum.at(low[axis], values, first[axis])
            np.maximum.at(high[axis], values, last[axis])
    order = (2, 1, 0) if from_last else (0, 1, 2)
    ends = [(low[:, value].tolist(), high[:, value].tolist()) for value in range(1, highest + 1)]
    return [
        None if b[0] < 0 else (slice(a[i], b[i] + 1), slice(a[j], b[j] + 1), slice(a[k], b[k] + 1))
        for (a, b), (i, j, k) in zip(ends, [order] * highest, strict=True)
    ]


Ends = tuple[NDArray[np.intp], list[NDArray[np.int64]], list[NDArray[np.int64]]]


def _runs(piece: NDArray[Any], highest: int) -> Ends | None:
    """Values of runs along the last axis, and where they begin and end along each; None if they are short."""
    rows = piece.reshape(-1, piece.shape[2])
    begins = np.empty(rows.shape, np.bool_)
    begins[:, 0] = True
    np.not_equal(rows[:, 1:], rows[:, :-1], out=begins[:, 1:])
    at = np.flatnonzero(begins)
    if len(at) > len(rows) + rows.size // LEAST_RUN:
        return None
    values = rows.reshape(-1)[at]
    stops = np.append(at[1:], rows.size)
    kept = (values > 0) & (values <= highest)
    row, first = np.divmod(at[kept], rows.shape[1])
    last = first + (stops - at)[kept] - 1
    one, other = np.divmod(row, piece.shape[1])
    return values[kept].astype(np.intp), [one, other, first], [one.copy(), other, last]


def _searched(piece: NDArray[Any], highest: int) -> Ends:
    """The same of the box of each value that is there, by SciPy."""
    from scipy import ndimage

    boxes = ndimage.find_objects(piece, max_label=highest)
    there = [(value, box) for value, box in enumerate(boxes, start=1) if box is not None]
    return (
        np.array([value for value, _ in there], np.intp),
        [np.array([box[axis].start for _, box in there], np.int64) for axis in range(3)],
        [np.array([box[axis].stop - 1 for _, box in there], np.int64) for axis in range(3)],
    )


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
