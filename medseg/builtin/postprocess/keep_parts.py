"""Remove some of the connected parts of labels, all labels of a layer in one pass."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.postprocess.connected_parts import Parts, parts_of_labels
from medseg.builtin.postprocess.repaint import Box, boxes, changeable
from medseg.components import Connectivity
from medseg.segmentation import Label, Segmentation

__all__ = ["keep_parts"]


def keep_parts(
    segmentation: Segmentation,
    labels: tuple[str, ...] | None,
    connectivity: Connectivity,
    choose: Callable[[Parts, NDArray[np.intp]], NDArray[np.intp]],
) -> Segmentation:
    """Return the segmentation with those parts of each label alone that `choose` names; the rest is 0.

    `choose(parts, numbers)` gets a layer's parts and the numbers of one label's, and gives the numbers to
    keep. `labels` None means all. Raises UsageError for an unknown label and for a layer of objects.
    """
    chosen = changeable(segmentation, labels)
    array = segmentation.array.copy()
    tight = boxes(array, chosen, around=(0, 0, 0))
    for layer in sorted({label.layer for label in chosen}):
        here = [label for label in chosen if label.layer == layer and tight[label.name] is not None]
        if not here:
            continue
        inside = array[layer][_around_all([tight[label.name] for label in here])]
        parts = parts_of_labels(inside, connectivity)
        gone = _unwanted(parts, here, choose)
        if gone.any():
            inside[gone[parts.numbers]] = 0
    return segmentation.replace(array=array)


def _unwanted(
    parts: Parts, labels: list[Label], choose: Callable[[Parts, NDArray[np.intp]], NDArray[np.intp]]
) -> NDArray[np.bool_]:
    """Whether each part is one of these labels' and not chosen."""
    gone = np.zeros(len(parts.sizes), bool)
    for label in labels:
        numbers = parts.of(label.value)
        gone[numbers] = True
        gone[choose(parts, numbers)] = False
    return gone


def _around_all(found: list[Box | None]) -> Box:
    """The smallest box that holds all of these."""
    sides = zip(*(box for box in found if box is not None), strict=True)
    return tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides)
