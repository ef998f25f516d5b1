"""Change the masks of some labels, each within its own box, without touching any other label."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError
from medseg.segmentation import Label, Segmentation

__all__ = ["Box", "Mask", "boxes", "changeable", "repaint", "repaint_among"]

Mask = NDArray[np.bool_]
Box = tuple[slice, ...]

AROUND = (1, 1, 1)  # voxels of a label's surroundings that a change sees, so that it can tell its border


def repaint(
    segmentation: Segmentation,
    labels: tuple[str, ...] | None,
    change: Callable[[Mask], Mask],
    *,
    around: Sequence[int] = AROUND,
    over: Iterable[str] = (),
) -> Segmentation:
    """Return the segmentation with `change(mask)` in place of each label's mask, one label after another.

    `labels` None means all, in the order of the table. What a label loses becomes background; what it gains
    is taken from background and from the labels `over` in its layer, from no other. `change` gets the label's
    bounding box with `around` voxels of its surroundings, where the image has them, and returns a mask of the
    same shape. Raises UsageError for an unknown label and for a layer of objects.
    """
    return repaint_among(segmentation, labels, lambda mask, free: change(mask), around=around, over=over)


def repaint_among(
    segmentation: Segmentation,
    labels: tuple[str, ...] | None,
    change: Callable[[Mask, Mask], Mask],
    *,
    around: Sequence[int] = AROUND,
    over: Iterable[str] = (),
) -> Segmentation:
    """The same with `change(mask, free)`, which is told where the label may grow."""
    chosen = changeable(segmentation, labels)
    taken = [segmentation.labels[name] for name in over]
    array = segmentation.array.copy()
    where = boxes(array, chosen, around=around)
    for label in chosen:
        box = where[label.name]
        if box is None:
            continue
        inside = array[label.layer][box]
        mask = inside == label.value
        free = inside == 0
        for other in taken:
            if other.layer == label.layer:
                free |= inside == other.value
        changed = change(mask.copy(), free)
        inside[mask & ~changed] = 0
        inside[changed & free] = label.value
    return segmentation.replace(array=array)


def changeable(segmentation: Segmentation, labels: tuple[str, ...] | None) -> tuple[Label, ...]:
    """The labels of these names, None for all; raises UsageError for one unknown or in a layer of objects."""
    chosen = (
        tuple(segmentation.labels) if labels is None else tuple(segmentation.labels[name] for name in labels)
    )
    for label in chosen:
        if segmentation.kinds[label.layer] != "labels":
            raise UsageError(
                f"label {label.name!r} lies in a layer of objects; this step changes labels only"
            )
    return chosen


def boxes(
    array: NDArray[Any], labels: tuple[Label, ...], *, around: Sequence[int] = AROUND
) -> dict[str, Box | None]:
    """Bounding box of each label, `around` voxels wider on each side; None for a label with no voxel.

    All are found in one pass over each layer. They hold all of a label still while labels are repainted in
    turn, as a label gains nothing but by its own turn.
    """
    from scipy.ndimage import find_objects

    found_boxes: dict[str, Box | None] = {}
    for layer in {label.layer for label in labels}:
        here = [label for label in labels if label.layer == layer]
        found = find_objects(array[layer], max_label=max(label.value for label in here))
        for label in here:
            tight = found[label.value - 1]
            found_boxes[label.name] = None if tight is None else _widened(tight, around)
    return found_boxes


def _widened(box: Box, around: Sequence[int]) -> Box:
    """The box with more voxels on each side; slices end at the image by themselves."""
    return tuple(slice(max(0, side.start - n), side.stop + n) for side, n in zip(box, around, strict=True))
