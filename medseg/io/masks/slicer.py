"""3D Slicer's .seg.nrrd: an NRRD label map of one or more layers with its segments in the header's text.

The header's own geometry says where the voxels lie; Segmentation_ReferenceImageExtentOffset tells Slicer how
far the cropped array is from its reference image and moves nothing, nor do the segments' extents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.itk import read_itk
from medseg.io.masks.label_map import whole_values
from medseg.io.masks.layers import Tell, hexadecimal, in_layers, listed, unique
from medseg.io.masks.place import placed
from medseg.segmentation import Label, LabelTable, LayerKind, Object, Segmentation
from medseg.volume import Volume

__all__ = ["OBJECT_OF", "is_slicer", "read_slicer"]

OBJECT_OF = "Medseg.ObjectOf:"
"""Before the name of its label, the tag of a segment that is a single object, as 3D Slicer keeps tags."""

SEGMENT = re.compile(r"Segment(\d{1,9})_(ID|Name|LabelValue|Layer|Color|Tags)")
OWNER = re.compile(rf"{re.escape(OBJECT_OF)}([^|]+)")
TERMINOLOGY = re.compile(r"TerminologyEntry:([^|]*)")
MOST_NAME = 200
FEW = 64  # segments that are looked for one by one
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


def is_slicer(texts: dict[str, str]) -> bool:
    """Whether an NRRD header's texts describe segments."""
    return any(SEGMENT.fullmatch(key) for key in texts)


def read_slicer(path: Path, texts: dict[str, str], onto: Volume, tell: Tell) -> Segmentation:
    """The segments on the image's grid with names, colours and codes; values are kept where they are unique.

    Segments that are single objects of a label become a layer of objects.

    Raises InputError where a segment names a layer that is not there, or voxels belong to no segment.
    """
    volume = read_itk(path)
    layers = [whole_values(layer, path.name) for layer in volume.array]
    segments: dict[int, dict[str, str]] = {}
    for key, text in texts.items():
        match = SEGMENT.fullmatch(key)
        if match:
            segments.setdefault(int(match[1]), {})[match[2]] = text
    stored, sources, owners = [], [], []
    for number in sorted(segments):
        fields = segments[number]
        # before layers could be shared (Slicer 4.10), each segment had its own and the value 1
        layer, value = int(fields.get("Layer", number)), int(fields.get("LabelValue", 1))
        name = (fields.get("Name") or fields.get("ID") or "").strip()[:MOST_NAME]
        if not 0 <= layer < len(layers):
            raise InputError(f"{path.name}: segment {name!r} is in layer {layer} of {len(layers)}")
        stored.append(Label(value, name, _code(fields.get("Tags", "")), _colour(fields.get("Color", ""))))
        sources.append((layer, value))
        owners.append(OWNER.search(fields.get("Tags", "")))
    if len(set(sources)) < len(sources):
        raise InputError(f"{path.name}: two segments share a layer and a value")
    for layer, values in enumerate(layers):
        stray = set(np.unique(values).tolist()) - {0} - {value for where, value in sources if where == layer}
        if stray:
            told = listed([str(value) for value in sorted(stray)])
            raise InputError(f"{path.name}: layer {layer} holds value {told}, which no segment describes")
    labels = unique(stored, tell)
    found = in_layers(labels, _wheres(layers, sources), volume.grid, path.name)
    owned = {label.name: owner[1] for label, owner in zip(labels, owners, strict=True) if owner is not None}
    return placed(_with_objects(found, owned), onto.grid, path.name, tell)


def _with_objects(part: Segmentation, owners: Mapping[str, str]) -> Segmentation:
    """The objects of each label in a layer of their own, behind the layers of labels.

    `owners` has, by the name of a segment, whose object it is. Objects that were drawn over each other since
    stay labels: a layer has one object at each place.
    """
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


def _wheres(
    layers: Sequence[NDArray[Any]], sources: Sequence[tuple[int, int]]
) -> Iterator[NDArray[np.int64]]:
    """Of each layer and value the flat indices of its voxels.

    Where there are many, each layer is sorted once, which takes memory.
    """
    sorted_layers: dict[int, tuple[NDArray[np.int64], NDArray[Any]]] = {}
    for layer, value in sources:
        if len(sources) <= FEW or value == 0:
            yield np.flatnonzero(layers[layer] == value)
            continue
        if layer not in sorted_layers:
            flat = np.ascontiguousarray(layers[layer]).reshape(-1)
            there = np.flatnonzero(flat)
            there = there[np.argsort(flat[there], kind="stable")]
            sorted_layers[layer] = there, flat[there]
        where, values = sorted_layers[layer]
        first, last = (int(np.searchsorted(values, value, side)) for side in SIDES)
        yield where[first:last]


def _colour(text: str) -> str | None:
    """`#rrggbb` of three numbers from 0 to 1."""
    try:
        parts = [float(word) for word in text.split()]
    except ValueError:
        return None
    return hexadecimal(255 * np.array(parts))


def _code(tags: str) -> str | None:
    """SCHEME:VALUE of the type in an entry `context~category~type~…`, each `scheme^value^meaning`."""
    match = TERMINOLOGY.search(tags)
    parts = match[1].split("~") if match else []
    scheme, _, rest = parts[2].partition("^") if len(parts) > 2 else ("", "", "")
    value = rest.partition("^")[0]
    return f"{scheme}:{value}" if scheme and value else None
