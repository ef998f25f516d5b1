"""Files of single objects (tumours, nuclei), as medseg's writers leave them, read as those objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medseg.io.itk import nrrd_texts
from medseg.report.label_files import OBJECT_OF, slug
from medseg.segmentation import Label, LabelTable, LayerKind, Object, Segmentation

__all__ = ["with_objects"]

TAGS = re.compile(r"Segment(\d{1,4})_Tags")
OWNER = re.compile(rf"{re.escape(OBJECT_OF)}([^|]+)")


def with_objects(path: Path, part: Segmentation) -> Segmentation:
    """The labels of a file with those that are single objects of one label put together; others as they are.

    In `segmentation-liver-tumour.nii.gz`, "liver tumour 3" is the object 3 of "liver tumour". Labels that
    only look so, as "rib 1" and "rib 2", lie in a file that is not called after them. A `.seg.nrrd` says of
    each segment whose object it is.
    """
    if path.name.lower().endswith(".nrrd"):
        return _of_segments(path, part)
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


def _of_segments(path: Path, part: Segmentation) -> Segmentation:
    """The objects of each label in a layer of their own, behind the layers of labels.

    Objects that were drawn over each other since stay labels: a layer has one object at each place.
    """
    owners = _owners(nrrd_texts(path))
    owned = {label.name: owners[label.name] for label in part.labels if label.name in owners}
    rest = [label.name for label in part.labels if label.name not in owned]
    labels, layers, objects = list(part.labels.only(rest)), [part.only(rest).array], []
    for owner in dict.fromkeys(owned.values()):
        own = part.only([name for name, whose in owned.items() if whose == owner])
        if owner in rest or np.count_nonzero(own.array, axis=0).max(initial=0) > 1:
            return part
        taken = {label.value for label in labels}
        value = next(n for n in range(1, 2 + len(taken)) if n not in taken)
        code = next(iter(own.labels)).code
        labels.append(Label(value, owner, code=code, layer=sum(map(len, layers))))
        objects += [Object(label.value, owner) for label in own.labels]
        layers.append(own.array.max(axis=0)[None])
    if not owned:
        return part
    kinds: list[LayerKind] = ["labels" for _ in layers[0]]
    kinds += ["objects"] * (len(layers) - 1)
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
