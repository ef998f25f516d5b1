"""3D Slicer's .seg.nrrd: an NRRD label map of one or more layers with its segments in the header's text.

The header's own geometry says where the voxels lie; Segmentation_ReferenceImageExtentOffset tells Slicer how
far the cropped array is from its reference image and moves nothing, nor do the segments' extents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.itk import read_itk
from medseg.io.masks.label_map import whole_values
from medseg.io.masks.layers import Tell, hexadecimal, in_layers, listed, unique
from medseg.io.masks.place import placed
from medseg.segmentation import Label, Segmentation
from medseg.volume import Volume

__all__ = ["is_slicer", "read_slicer"]

SEGMENT = re.compile(r"Segment(\d{1,9})_(ID|Name|LabelValue|Layer|Color|Tags)")
TERMINOLOGY = re.compile(r"TerminologyEntry:([^|]*)")
MOST_NAME = 200
FEW = 64  # segments that are looked for one by one
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


def is_slicer(texts: dict[str, str]) -> bool:
    """Whether an NRRD header's texts describe segments."""
    return any(SEGMENT.fullmatch(key) for key in texts)


def read_slicer(path: Path, texts: dict[str, str], onto: Volume, tell: Tell) -> Segmentation:
    """The segments on the image's grid with names, colours and codes; values are kept where they are unique.

    Raises InputError where a segment names a layer that is not there, or voxels belong to no segment.
    """
    volume = read_itk(path)
    layers = [whole_values(layer, path.name) for layer in volume.array]
    segments: dict[int, dict[str, str]] = {}
    for key, text in texts.items():
        match = SEGMENT.fullmatch(key)
        if match:
            segments.setdefault(int(match[1]), {})[match[2]] = text
    stored, sources = [], []
    for number in sorted(segments):
        fields = segments[number]
        # before layers could be shared (Slicer 4.10), each segment had its own and the value 1
        layer, value = int(fields.get("Layer", number)), int(fields.get("LabelValue", 1))
        name = (fields.get("Name") or fields.get("ID") or "").strip()[:MOST_NAME]
        if not 0 <= layer < len(layers):
            raise InputError(f"{path.name}: segment {name!r} is in layer {layer} of {len(layers)}")
        stored.append(Label(value, name, _code(fields.get("Tags", "")), _colour(fields.get("Color", ""))))
        sources.append((layer, value))
    if len(set(sources)) < len(sources):
        raise InputError(f"{path.name}: two segments share a layer and a value")
    for layer, values in enumerate(layers):
        stray = set(np.unique(values).tolist()) - {0} - {value for where, value in sources if where == layer}
        if stray:
            told = listed([str(value) for value in sorted(stray)])
            raise InputError(f"{path.name}: layer {layer} holds value {told}, which no segment describes")
    labels = unique(stored, tell)
    wheres = _wheres(layers, sources)
    return placed(in_layers(labels, wheres, volume.grid, path.name), onto.grid, path.name, tell)


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
