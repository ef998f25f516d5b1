"""3D Slicer's .seg.nrrd: an NRRD label map of one or more layers with its segments in the header's text.

The header's own geometry says where the voxels lie; Segmentation_ReferenceImageExtentOffset tells Slicer how
far the cropped array is from its reference image and moves nothing, nor do the segments' extents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.itk import read_itk
from medseg.io.masks.label_map import whole_values
from medseg.io.masks.layers import MOST_VALUE, Tell, hexadecimal, in_layers, listed, smallest_type, unique
from medseg.io.masks.place import placed
from medseg.segmentation import Label, LabelTable, LayerKind, Object, Segmentation
from medseg.volume import Grid, Volume

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
    rest = _segments(texts, layers, path.name)
    parts = []
    for owner in dict.fromkeys(segment.owner for segment in rest if segment.owner):
        own = [segment for segment in rest if segment.owner == owner]
        # one that was drawn since and is called as the label is one more object
        more = [segment for segment in rest if segment.label.name == owner and not segment.owner]
        found = _objects(own, more, layers, volume.grid)
        if found is None:
            tell(f"objects of {owner!r} lie over each other or share an id: they are labels")
            continue
        parts.append(found)
        taken = {segment.source for segment in (*own, *more)}
        rest = [segment for segment in rest if segment.source not in taken]
    if rest or not parts:
        labels = unique([segment.label for segment in rest], tell)
        wheres = _wheres(layers, [segment.source for segment in rest])
        parts.insert(0, in_layers(labels, wheres, volume.grid, path.name))
    return placed(_beside(parts), onto.grid, path.name, tell)


@dataclass(frozen=True)
class _Segment:
    """A segment: its label, the layer that it is in, and whose object it is; empty where it is none."""

    label: Label
    layer: int
    owner: str

    @property
    def source(self) -> tuple[int, int]:
        """Layer and value."""
        return self.layer, self.label.value


def _segments(texts: Mapping[str, str], layers: Sequence[NDArray[Any]], file: str) -> list[_Segment]:
    """All that the header tells of; raises InputError where that does not fit the layers."""
    told: dict[int, dict[str, str]] = {}
    for key, text in texts.items():
        match = SEGMENT.fullmatch(key)
        if match:
            told.setdefault(int(match[1]), {})[match[2]] = text
    found = []
    for number, fields in sorted(told.items()):
        # before layers could be shared (Slicer 4.10), each segment had its own and the value 1
        layer, value = int(fields.get("Layer", number)), int(fields.get("LabelValue", 1))
        name = (fields.get("Name") or fields.get("ID") or "").strip()[:MOST_NAME]
        if not 0 <= layer < len(layers):
            raise InputError(f"{file}: segment {name!r} is in layer {layer} of {len(layers)}")
        tags = fields.get("Tags", "")
        label = Label(value, name, _code(tags), _colour(fields.get("Color", "")))
        found.append(_Segment(label, layer, _owner(tags)))
    sources = {segment.source for segment in found}
    if len(sources) < len(found):
        raise InputError(f"{file}: two segments share a layer and a value")
    for layer, values in enumerate(layers):
        stray = set(np.unique(values).tolist()) - {0} - {value for where, value in sources if where == layer}
        if stray:
            values_told = listed([str(value) for value in sorted(stray)])
            raise InputError(f"{file}: layer {layer} holds value {values_told}, which no segment describes")
    return found


def _owner(tags: str) -> str:
    """The label whose object a segment is; empty where it is none."""
    match = OWNER.search(tags)
    return match[1].strip()[:MOST_NAME] if match else ""


def _objects(
    own: Sequence[_Segment], more: Sequence[_Segment], layers: Sequence[NDArray[Any]], grid: Grid
) -> Segmentation | None:
    """Segments as objects of the label that owns them, with their values as ids; None where that cannot be.

    Those of `more` get other ids where theirs are taken. A layer has one object at each place; those without
    voxels are none.
    """
    ids = [segment.label.value for segment in own]
    if len(set(ids)) < len(ids) or not all(1 <= number < MOST_VALUE for number in ids):
        return None
    for segment in more:
        value = segment.label.value
        ids.append(value if value > 0 and value not in ids else max(ids) + 1)
    array = np.zeros(grid.shape, smallest_type(max(ids)))
    number = {segment.source: n for segment, n in zip((*own, *more), ids, strict=True)}
    for layer in {layer for layer, _ in number}:
        values, numbers = np.array(sorted((v, n) for (where, v), n in number.items() if where == layer)).T
        for into, plane in zip(array, layers[layer], strict=True):  # by plane: places take much memory
            at = np.searchsorted(values, plane).clip(max=len(values) - 1)
            inside = values[at] == plane
            if into[inside].any():
                return None
            into[inside] = numbers[at[inside]]
    table = LabelTable((Label(1, own[0].owner, code=own[0].label.code),))
    there = set(np.unique(array).tolist())
    things = tuple(Object(each, own[0].owner) for each in ids if each in there)
    return Segmentation(array[None], grid, table, ("objects",), things)


def _beside(parts: Sequence[Segmentation]) -> Segmentation:
    """Layers of labels first, if there are any, and one of objects for each label that has some."""
    first, *others = parts
    if not others:
        return first
    labels, layers = list(first.labels), [first.array]
    for part in others:
        taken = {label.value for label in labels}
        value = next(n for n in range(1, 2 + len(taken)) if n not in taken)
        (label,) = part.labels
        labels.append(replace(label, value=value, layer=sum(map(len, layers))))
        layers.append(part.array)
    kinds: list[LayerKind] = [kind for part in parts for kind in part.kinds]
    objects = tuple(thing for part in parts for thing in part.objects)
    widest = np.result_type(*layers)
    array = np.concatenate([layer.astype(widest, copy=False) for layer in layers])
    return Segmentation(array, first.grid, LabelTable(tuple(labels)), tuple(kinds), objects)


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
