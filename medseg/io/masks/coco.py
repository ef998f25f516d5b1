"""COCO JSON: instances of many pictures, as polygons or run lengths; those of one picture become objects.

Polygons are in pixels with the picture's corner at 0: the centre of the first pixel is at 0.5.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.masks.layers import Tell, in_layers, listed, smallest_type, unique
from medseg.io.masks.polygons import inside
from medseg.io.regular_file import open_regular
from medseg.segmentation import Label, LabelTable, LayerKind, Object, Segmentation
from medseg.volume import Volume

__all__ = ["read_coco"]

MOST_BYTES = 1 << 29  # instances_train2017.json has 470 MB
MOST_OBJECTS = 1 << 20


class _Instance(NamedTuple):
    """One annotation: its category and flat C-order indices `x * height + y`."""

    category: int
    where: NDArray[np.intp]
    fields: dict[str, Any]


def read_coco(path: Path, onto: Volume, tell: Tell) -> Segmentation:
    """The objects that the file has for this picture, found by the picture's file name.

    Every category becomes a label, used here or not. Objects of different categories may overlap (layers); a
    pixel of two objects of one category goes to the smaller one, which is told.
    """
    told = _parsed(path)
    width, height, depth = onto.grid.shape
    if depth != 1:
        raise GeometryError(f"{path.name}: COCO annotations are for pictures, the image has {depth} slices")
    image = _image(told, path.name, onto)
    if (image.get("width"), image.get("height")) != (width, height):
        raise GeometryError(
            f"{path.name}: its picture has {image.get('width')} x {image.get('height')} pixels, the image "
            f"{width} x {height}"
        )
    categories = _categories(told, path.name)
    stored = [Label(number, name) for number, name in categories.items()]
    labels = dict(zip(categories, unique(stored, tell), strict=True))
    found = list(_instances(told, path.name, image.get("id"), set(labels), (width, height), tell))
    return _segmentation(found, labels, onto, path.name, tell)


def _parsed(path: Path) -> dict[str, Any]:
    with open_regular(path) as file:
        if file.size > MOST_BYTES:
            raise InputError(f"{path.name}: {file.size >> 20} MiB of JSON; up to {MOST_BYTES >> 20} are read")
        try:
            told = json.loads(file.readall())
        except (ValueError, RecursionError) as problem:
            raise InputError(
                f"{path.name}: damaged JSON ({' '.join(str(problem).split())[:200]})"
            ) from problem
    parts = ("images", "annotations", "categories")
    if not isinstance(told, dict) or not all(isinstance(told.get(part), list) for part in parts):
        raise InputError(f"{path.name}: not COCO: it has no lists of {', '.join(parts)}")
    for part in parts:
        if not all(isinstance(item, dict) for item in told[part]):
            raise InputError(f"{path.name}: not COCO: an entry of {part!r} is no object")
    return told


def _image(told: dict[str, Any], name: str, onto: Volume) -> dict[str, Any]:
    """The entry of the picture that was read."""
    if onto.source is None or not onto.source.files:
        raise InputError(f"{name}: the image has no file name, by which its annotations are found")
    wanted = onto.source.files[0].name
    fitting = [item for item in told["images"] if _base(item.get("file_name")) == wanted]
    if len(fitting) != 1:
        what = f"{len(fitting)} pictures" if fitting else "no picture"
        raise InputError(f"{name}: {what} of this image's file name among {len(told['images'])}")
    found: dict[str, Any] = fitting[0]
    return found


def _base(name: Any) -> str:
    return str(name).replace("\\", "/").rpartition("/")[2]


def _categories(told: dict[str, Any], name: str) -> dict[int, str]:
    categories: dict[int, str] = {}
    for item in told["categories"]:
        number = item.get("id")
        if not isinstance(number, int) or number in categories:
            raise InputError(f"{name}: a category without an id of its own")
        categories[number] = " ".join(str(item.get("name", "")).split())[:200]
    return categories


# ------------------------------------------------------------------ shapes
def _instances(
    told: dict[str, Any], name: str, image: Any, known: set[int], size: tuple[int, int], tell: Tell
) -> Iterator[_Instance]:
    left_out: Counter[str] = Counter()
    for item in told["annotations"]:
        if item.get("image_id") != image:
            continue
        if item.get("category_id") not in known:
            raise InputError(f"{name}: annotation {item.get('id')} has a category that is not named")
        shape = item.get("segmentation")
        if not shape:
            left_out["without a shape"] += 1
            continue
        mask = _mask(shape, size, f"{name}: annotation {item.get('id')}")
        if not mask.any():
            left_out["smaller than a pixel"] += 1
            continue
        yield _Instance(item["category_id"], np.flatnonzero(mask), item)
    if left_out:
        what = listed([f"{count} {why}" for why, count in sorted(left_out.items())])
        tell(f"annotations that cover no pixel are left out: {what}")


def _mask(shape: Any, size: tuple[int, int], what: str) -> NDArray[np.bool_]:
    """Pixels `[x, y]` of a list of polygons (their union) or of run lengths."""
    if isinstance(shape, dict):
        return _run_lengths(shape, size, what)
    mask = np.zeros(size, bool)
    for polygon in shape if isinstance(shape, list) else [None]:
        points = _points(polygon, what)
        if len(points) < 3:
            raise InputError(f"{what}: a polygon of fewer than 3 points")
        beyond = max(float(-points.min()), float((points - size).max()))
        if beyond > 1:
            raise GeometryError(f"{what}: reaches {beyond:.1f} pixels beyond the picture; it is another's")
        mask |= inside(points - 0.5, size, what)
    return mask


def _points(polygon: Any, what: str) -> NDArray[np.float64]:
    try:
        points = np.array(polygon, np.float64)
    except (TypeError, ValueError):
        points = np.empty(1)
    if points.ndim != 1 or points.size % 2 or not np.isfinite(points).all():
        raise InputError(f"{what}: its polygon is not a list of x, y, x, y, …")
    return points.reshape(-1, 2)


def _run_lengths(shape: dict[str, Any], size: tuple[int, int], what: str) -> NDArray[np.bool_]:
    """Runs of out, in, out, … down the columns, as numbers or packed into a text."""
    if shape.get("size") != [size[1], size[0]]:
        raise GeometryError(f"{what}: run lengths for a picture of another size, {shape.get('size')}")
    counts = shape.get("counts")
    runs = _unpacked(counts, what) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise InputError(f"{what}: its run lengths are damaged")
    if sum(runs) != math.prod(size):
        raise InputError(f"{what}: its run lengths cover {sum(runs)} of {math.prod(size)} pixels")
    inside_runs = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside_runs, runs).reshape(size)


def _unpacked(text: str, what: str) -> list[int]:
    """Run lengths from COCO's text: 5 bits a letter from "0" on, the sixth says that more follow.

    The lowest bits come first and the sign is that of the last letter's fifth bit; from the fourth run on, a
    number is the difference to the run before the previous one.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii", "replace"):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f"{what}: its run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError(f"{what}: its run lengths are cut off")
    return runs


# ------------------------------------------------------------------ objects
def _segmentation(
    found: list[_Instance], labels: dict[int, Label], onto: Volume, name: str, tell: Tell
) -> Segmentation:
    """A layer of objects for each set of categories that do not overlap."""
    if len(found) > MOST_OBJECTS:
        raise InputError(f"{name}: {len(found)} objects on one picture; up to {MOST_OBJECTS} are read")
    count = math.prod(onto.grid.shape)
    owners = {
        category: np.zeros(count, smallest_type(len(found))) for category in {one.category for one in found}
    }
    shared: Counter[str] = Counter()
    # the larger first, so that the smaller are painted over them and stay whole
    for number in sorted(range(len(found)), key=lambda n: -len(found[n].where)):
        one = found[number]
        owner = owners[one.category]
        shared[labels[one.category].name] += int(np.count_nonzero(owner[one.where]))
        owner[one.where] = number + 1
    if +shared:
        told = listed([f"{pixels} in {label}" for label, pixels in sorted((+shared).items())])
        tell(f"pixels of two objects of one category, given to the smaller: {told}")
    order = list(labels)
    none = np.zeros(0, np.uint8)
    wheres = [np.flatnonzero(owners.get(category, none)) for category in order]
    table = in_layers(list(labels.values()), wheres, onto.grid, name)
    array = np.zeros((len(table.array), count), smallest_type(len(found)))
    placed = {label.value: label.layer for label in table.labels}
    for category, where in zip(order, wheres, strict=True):
        if len(where):
            array[placed[labels[category].value], where] = owners[category][where]
    objects = tuple(
        Object(number, labels[one.category].name, _score(one.fields), _kept(one.fields))
        for number, one in enumerate(found, start=1)
    )
    hidden = len(objects) - len(set(np.unique(array).tolist()) - {0})
    if hidden:
        tell(f"{hidden} objects lie wholly under others of their category: they have no pixel of their own")
    shaped = array.reshape(len(array), *onto.grid.shape)
    kinds: list[LayerKind] = ["objects"] * len(array)
    return Segmentation(shaped, onto.grid, LabelTable(tuple(table.labels)), tuple(kinds), objects)


def _score(fields: dict[str, Any]) -> float | None:
    score = fields.get("score")
    return float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None


def _kept(fields: dict[str, Any]) -> dict[str, Any]:
    """The annotation's id, and whether it is a crowd instead of a single object."""
    kept = {"id": fields["id"]} if isinstance(fields.get("id"), int) else {}
    return {**kept, "crowd": True} if fields.get("iscrowd") == 1 else kept
