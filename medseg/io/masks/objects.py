"""Values of label maps as ids of objects (tumours, nuclei): a segmentation with those objects."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError
from medseg.io.masks.layers import Tell, is_nameless, listed
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

__all__ = ["ids_of", "may_be_ids", "objects_of", "with_objects"]

MANY = 16  # values without names


def ids_of(label: str, part: Segmentation) -> Segmentation:
    """A part with its values as ids of objects of this label, also where each has a name, as vertebrae have.

    As it is where it has objects of that label already. Raises UsageError where it has others, several
    layers, or that label beside others.
    """
    if "objects" in part.kinds and label in part.labels:
        return part
    if part.kinds != ("labels",):
        held = listed([each.name for each in part.labels])
        kind = "objects of" if "objects" in part.kinds else "overlapping labels"
        raise UsageError(
            f"--objects {label}: the mask says that it holds {kind} {held}; leave the option out"
        )
    if label in part.labels and len(part.labels) > 1:
        raise UsageError(
            f"--objects {label}: {label!r} is one of the mask's labels; say another, or --labels {label}"
        )
    return with_objects(part, {label: [each.value for each in part.labels]})


def may_be_ids(table: LabelTable) -> bool:
    """Whether so many values have no name that they may well be ids of objects."""
    return len(table) >= MANY and is_nameless(table)


def with_objects(part: Segmentation, told: Mapping[str, Sequence[int]]) -> Segmentation:
    """A part of one layer with the objects `told`, ids by label, in place of its labels."""
    return part.replace(
        labels=LabelTable(tuple(Label(value, name) for value, name in enumerate(told, start=1))),
        kinds=("objects",),
        objects=tuple(Object(number, name) for name, ids in told.items() for number in ids),
    )


def objects_of(
    values: NDArray[Any], grid: Grid, told: Mapping[str, Sequence[int]], names: Container[int], tell: Tell
) -> Segmentation | None:
    """Values `[i, j, k]` as the objects that a file tells of, ids by label; None where they are labels again.

    Someone may have edited it since: objects without voxels are gone, and where all objects are of one label,
    values that nothing is told of are objects of it, too. With several labels, or a name of its own
    (`names`), it is unknown what such a value is, and none is an object.
    """
    there = np.unique(values)
    left = dict.fromkeys(there[there > 0].tolist())
    found = {label: [number for number in ids if number in left] for label, ids in told.items()}
    for ids in found.values():
        for number in ids:
            del left[number]
    if left:
        few = listed([str(number) for number in left])
        if len(found) > 1 or any(number in names for number in left):
            tell(f"its header does not say whose objects its values {few} are: all values are labels")
            return None
        (label,) = found
        tell(f"values that its header does not know are taken for objects of {label!r}: {few}")
        found[label] += left
    return with_objects(Segmentation(values[None], grid, LabelTable(())), found)
