"""Id maps beside segmentations that name their objects' label: whose objects they are."""

from __future__ import annotations

from collections.abc import Callable

from medseg.errors import InputError
from medseg.io.masks.layers import is_nameless
from medseg.io.masks.objects import ids_of, with_objects
from medseg.segmentation import Label, LabelTable, Segmentation

__all__ = ["as_objects", "as_objects_of"]


def as_objects_of(label: str, part: Segmentation) -> Segmentation:
    """A part with its values as ids of objects of this label, also where each has a name, as vertebrae have.

    As it is where it has the label itself, or objects or layers of its own. A single value without a name is
    a mask, whose connected parts are objects.
    """
    known = {each.name.casefold() for each in part.labels}
    if part.kinds != ("labels",) or not known or label.casefold() in known:
        return part
    if len(part.labels) == 1 and is_nameless(part.labels):
        (only,) = part.labels
        return part.replace(labels=LabelTable((Label(only.value, label),)))
    return ids_of(label, part)


def as_objects(part: Segmentation, other: Segmentation, tell: Callable[[str], None]) -> Segmentation:
    """A part that names no labels, as an id map, with its values as objects of the other's only label.

    As it is where the other has no objects. A single value is a mask, whose connected parts are objects.
    Raises InputError where it is unknown which of several labels the objects are of.
    """
    if "objects" not in other.kinds or part.kinds != ("labels",) or not len(part.labels):
        return part
    if not is_nameless(part.labels):
        return part
    values, names = [label.value for label in part.labels], [repr(label.name) for label in other.labels]
    if len(names) == 1:
        (only,) = other.labels
        if len(values) == 1:
            return part.replace(labels=LabelTable((Label(values[0], only.name),)))
        tell(f"names no label: its {len(values)} values are taken for ids of objects of {names[0]}")
        return with_objects(part, {only.name: values})
    if set(values) <= {label.value for label in other.labels}:
        return part  # values of labels, as far as one can tell
    raise InputError(
        f"names no label, and its {len(values)} values may be ids of objects of {' or '.join(names)}; "
        "compare a file of one label, or one that says whose objects they are (COCO, .seg.nrrd)"
    )
