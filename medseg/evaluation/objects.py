"""Files of single objects (tumours, nuclei), as medseg's writers leave them, read as those objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from medseg.errors import InputError
from medseg.evaluation.labels import is_nameless
from medseg.io.itk import nrrd_texts
from medseg.io.nifti import read_label_objects
from medseg.report.label_files import OBJECT_OF, slug
from medseg.segmentation import Label, LabelTable, LayerKind, Object, Segmentation

__all__ = ["as_objects", "ids_of", "with_objects"]

NIFTI = (".nii", ".nii.gz")
TAGS = re.compile(r"Segment(\d{1,9})_Tags")
OWNER = re.compile(rf"{re.escape(OBJECT_OF)}([^|]+)")


def with_objects(path: Path, part: Segmentation) -> Segmentation:
    """The labels of a file with those that are single objects of one label put together; others as they are.

    A `.seg.nrrd` says of each segment whose object it is, a NIfTI file of each value. Older ones do not:
    there, in `segmentation-liver-tumour.nii.gz`, "liver tumour 3" is the object 3 of "liver tumour". Labels
    that only look so, as "rib 1" and "rib 2", lie in a file that is not called after them.
    """
    if path.name.lower().endswith(".nrrd"):
        return _of_segments(path, part)
    told = read_label_objects(path) if path.name.lower().endswith(NIFTI) else {}
    if told:
        return _of_ids(told, part)
    stems = {label.name.removesuffix(f" {label.value}") for label in part.labels}
    stem = stems.pop() if len(stems) == 1 else ""
    if (
        not stem
        or part.kinds != ("labels",)
        or any(label.name != f"{stem} {label.value}" for label in part.labels)
    ):
        return part
    ending = slug(Label(1, stem), set())
    if stem == "label" or not re.search(rf"-{re.escape(ending)}(-\d+)?\.", path.name.lower()):
        return part  # "label 1", "label 2" are what labels without names are called
    return part.replace(
        labels=LabelTable((Label(1, stem, code=next(iter(part.labels)).code),)),
        kinds=("objects",),
        objects=tuple(Object(label.value, stem) for label in part.labels),
    )


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
        return _of_ids({only.name: tuple(values)}, part)
    if set(values) <= {label.value for label in other.labels}:
        return part  # values of labels, as far as one can tell
    raise InputError(
        f"names no label, and its {len(values)} values may be ids of objects of {' or '.join(names)}; "
        "compare a file of one label, or one that says whose objects they are (COCO, .seg.nrrd)"
    )


def ids_of(label: str, part: Segmentation) -> Segmentation:
    """A part with its values as ids of objects of this label, also where each has a name, as vertebrae have.

    As it is where it has the label itself. A single value without a name is a mask, whose connected parts are
    objects.
    """
    known = {each.name.casefold() for each in part.labels}
    if part.kinds != ("labels",) or not known or label.casefold() in known:
        return part
    values = tuple(each.value for each in part.labels)
    if len(values) == 1 and is_nameless(part.labels):
        return part.replace(labels=LabelTable((Label(values[0], label),)))
    return _of_ids({label: values}, part)


def _of_ids(told: Mapping[str, tuple[int, ...]], part: Segmentation) -> Segmentation:
    """A layer of objects; as it is where values were added that are nobody's."""
    known = {number for ids in told.values() for number in ids}
    if part.kinds != ("labels",) or not known.issuperset(label.value for label in part.labels):
        return part
    return part.replace(
        labels=LabelTable(tuple(Label(value, name) for value, name in enumerate(told, start=1))),
        kinds=("objects",),
        objects=tuple(Object(number, name) for name, ids in told.items() for number in ids),
    )


def _of_segments(path: Path, part: Segmentation) -> Segmentation:
    """The objects of each label in a layer of their own, behind the layers of labels.

    Objects that were drawn over each other since stay labels: a layer has one object at each place.
    """
    owners = _owners(nrrd_texts(path))
    owned: dict[str, list[Label]] = {}
    for label in part.labels:
        if label.name in owners:
            owned.setdefault(owners[label.name], []).append(label)
    rest = [label.name for label in part.labels if label.name not in owners]
    if not owned:
        return part
    labels: list[Label] = list(part.labels.only(rest))
    layers, objects = [part.only(rest).array] if rest else [], []
    kinds: list[LayerKind] = ["labels"] * sum(map(len, layers))
    for owner, own in owned.items():
        ids = [label.value for label in own]
        array = np.where(np.isin(part.array, ids), part.array, part.array.dtype.type(0))
        if owner in rest or np.count_nonzero(array, axis=0).max(initial=0) > 1:
            return part
        taken = {label.value for label in labels}
        value = next(n for n in range(1, 2 + len(taken)) if n not in taken)
        labels.append(Label(value, owner, code=own[0].code, layer=len(kinds)))
        objects += [Object(number, owner) for number in ids]
        layers.append(array.max(axis=0)[None])
        kinds.append("objects")
    return Segmentation(
        np.concatenate(layers),
        part.grid,
        LabelTable(tuple(labels)),
        kinds=tuple(kinds),
        objects=tuple(objects),
    )


def _owners(texts: Mapping[str, str]) -> dict[str, str]:
    """Whose object each segment is, by its name."""
    found = {}
    for key, text in texts.items():
        segment, owner = TAGS.fullmatch(key), OWNER.search(text)
        if segment and owner:
            found[texts.get(f"Segment{segment[1]}_Name", "").strip()] = owner[1]
    return found
