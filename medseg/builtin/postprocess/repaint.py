"""Change the masks of some labels, each within its own box, without touching any other label."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError
from medseg.segmentation import Label, Segmentation

__all__ = ["Mask", "repaint"]

Mask = NDArray[np.bool_]
Box = tuple[slice, ...]


def repaint(
    segmentation: Segmentation, labels: tuple[str, ...] | None, change: Callable[[Mask], Mask]
) -> Segmentation:
    """Return the segmentation with `change(mask)` in place of each label's mask, one label after another.

    `labels` None means all, in the order of the table. What a label loses becomes background; what it gains
    is taken from background only. `change` gets the label's bounding box with one voxel of its
    surroundings, where the image has them, and returns a mask of the same shape. Raises UsageError for an
    unknown label and for a layer of objects.
    """
    chosen = (
        tuple(segmentation.labels) if labels is None else tuple(segmentation.labels[name] for name in labels)
    )
    for label in chosen:
        if segmentation.kinds[label.layer] != "labels":
            raise UsageError(
                f"label {label.name!r} lies in a layer of objects; this step changes labels only"
            )
    array = segmentation.array.copy()
    boxes = _boxes(array, chosen)
    for label in chosen:
        box = boxes[label.name]
        if box is None:
            continue
        inside = array[label.layer][box]
        mask = inside == label.value
        changed = change(mask.copy())
        inside[mask & ~changed] = 0
        inside[changed & (inside == 0)] = label.value
    return segmentation.replace(array=array)


def _boxes(array: NDArray[Any], labels: tuple[Label, ...]) -> dict[str, Box | None]:
    """Bounding box of each label, one voxel wider on each side; None for a label with no voxel.

    All are found in one pass over each layer. They stay true while labels are repainted in turn, as a label
    changes nothing but its own voxels and background.
    """
    from scipy.ndimage import find_objects

    boxes: dict[str, Box | None] = {}
    for layer in {label.layer for label in labels}:
        here = [label for label in labels if label.layer == layer]
        found = find_objects(array[layer], max_label=max(label.value for label in here))
        for label in here:
            tight = found[label.value - 1]
            boxes[label.name] = None if tight is None else _widened(tight)
    return boxes


def _widened(box: Box) -> Box:
    """The box with one voxel more on each side; slices end at the image by themselves."""
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
