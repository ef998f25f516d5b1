"""Prepared cases: each image as the network takes it, with its labels, on the disk and mapped into memory.

A case is a folder: `image.npy`, `labels.npy`, `objects.npy` for heads of objects, maybe `valid.npy` and
`known-places.npy`, `map-NAME.npy`, `places.npy`, and `case.json`. It appears complete or not at all, and is
made anew when its files, the preprocessing or the loss change.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError, PluginError, ResourceError
from medseg.pipeline import blamed, preprocess
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.training.dataset import Case
from medseg.training.recipe import Recipe
from medseg.volume import Grid, Unit, Volume

__all__ = ["PreparedCase", "ReadCase", "prepared_case"]

logger = logging.getLogger(__name__)

MOST_PLACES = (
    20_000  # voxels of each label that a sample may be placed about; a seeded choice where there are more
)
MOST_ID = 1 << 24  # samples are read in single precision, in which all whole numbers up to this one exist
Array = NDArray[Any]
ReadCase = Callable[[], tuple[Volume, Segmentation, NDArray[np.bool_] | None]]


@dataclass(frozen=True)
class PreparedCase:
    """A case ready to draw samples from; arrays are mapped from its folder when they are first asked for.

    `fill` is the smallest value of each channel, which stands around the image. `counts` says how many voxels
    of each label are listed in `places`, in the order of the label table.
    """

    id: str
    subject: str
    folder: Path
    grid: Grid
    channels: tuple[str, ...]
    fill: tuple[float, ...]
    counts: tuple[int, ...]
    maps: tuple[str, ...] = ()
    partly_valid: bool = False
    of_objects: bool = False
    stratum: str = ""
    stated: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def image(self) -> Array:
        """`[C, i, j, k]`, float32."""
        return self._mapped("image")

    @cached_property
    def labels(self) -> Array:
        """`[L, i, j, k]`, unsigned: the labels' values."""
        return self._mapped("labels")

    @cached_property
    def objects(self) -> Array | None:
        """`[L, i, j, k]`, unsigned ids, those of a layer in no other; None where not asked for."""
        return self._mapped("objects") if self.of_objects else None

    @cached_property
    def valid(self) -> Array | None:
        """`[1, i, j, k]`, 1 where the reference is known; None where it is known everywhere."""
        return self._mapped("valid") if self.partly_valid else None

    @cached_property
    def places(self) -> tuple[Array, ...]:
        """For each label of the table, flat indices of voxels that have it."""
        flat = self._mapped("places")
        ends = np.cumsum(self.counts)
        return tuple(flat[end - count : end] for end, count in zip(ends, self.counts, strict=True))

    @cached_property
    def known_places(self) -> Array | None:
        """Flat indices of voxels whose reference is known; None where it is known everywhere."""
        return self._mapped("known-places") if self.partly_valid else None

    def map(self, name: str) -> Array:
        """`[K, i, j, k]`, what the loss prepared under this name."""
        return self._mapped(f"map-{name}")

    def _mapped(self, name: str) -> Array:
        array: Array = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array


def prepared_case(
    case: Case,
    *,
    sha256: Iterable[str],
    read: ReadCase,
    recipe: Recipe,
    folder: Path,
) -> PreparedCase:
    """A case of a dataset prepared in `folder/ID`: as it is there if it is the same, else made anew.

    `sha256` are of its files and of whatever else decides how they are read; `read` reads them. Raises
    InputError where it cannot be read or its labels do not fit, ResourceError where the folder cannot be
    written.
    """
    key = _digest({"files": list(sha256), **recipe.written()})
    place = folder / case.id
    found = _load(place, key, case)
    if found is not None:
        return found
    try:
        _make(place, key, read, recipe)
    except OSError as problem:
        raise ResourceError(
            f"{place}: cannot be written: {problem.strerror}; free space, or choose another folder"
        ) from problem
    found = _load(place, key, case)
    assert found is not None  # just made
    return found


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _load(place: Path, key: str, case: Case) -> PreparedCase | None:
    try:
        stated = json.loads((place / "case.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if stated.get("key") != key:
        return None
    i, j, k = stated["shape"]
    unit: Unit = "px" if stated["unit"] == "px" else "mm"
    return PreparedCase(
        id=case.id,
        subject=case.subject,
        stratum=case.stratum,
        folder=place,
        grid=Grid((i, j, k), np.array(stated["affine"]), unit),
        channels=tuple(stated["channels"]),
        fill=tuple(stated["fill"]),
        counts=tuple(stated["counts"]),
        maps=tuple(stated["maps"]),
        partly_valid=stated["partly_valid"],
        of_objects=stated.get("of_objects", False),
        stated=stated,
    )


def _make(place: Path, key: str, read: ReadCase, recipe: Recipe) -> None:
    volume, reference, valid = read()
    image = preprocess(recipe.preprocess, volume)
    _require_channels(image, recipe)
    labels = reference.onto(image.grid)
    of_objects = recipe.segment.step.of_objects
    known = None if valid is None else _known(valid, reference, image.grid)
    if of_objects:
        labels = _objects(labels)
        known = None if known is None else known & ~_cut_off(labels, known)
    maps = _maps(recipe, labels, known)
    array = np.asarray(image.array, np.float32)
    places = [_places(labels.mask(label.name), number) for number, label in enumerate(recipe.labels)]
    stated = {
        "key": key,
        "shape": list(image.grid.shape),
        "affine": image.grid.affine.tolist(),
        "unit": image.grid.unit,
        "channels": list(image.channels),
        "fill": [float(channel.min()) for channel in array],
        "counts": [len(each) for each in places],
        "maps": sorted(maps),
        "partly_valid": valid is not None,
        "of_objects": of_objects,
    }
    making = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    np.save(making / "image.npy", array)
    np.save(making / "labels.npy", labels.by_label().array)
    if of_objects:
        np.save(making / "objects.npy", labels.array)
    np.save(making / "places.npy", np.concatenate([*places, np.zeros(0, np.int64)]))
    if known is not None:
        np.save(making / "valid.npy", known[None].astype(np.uint8))
        np.save(making / "known-places.npy", _places(known, len(places)))
    for name, values in maps.items():
        np.save(making / f"map-{name}.npy", values)
    (making / "case.json").write_text(json.dumps(stated), encoding="utf-8")
    shutil.rmtree(place, ignore_errors=True)
    try:
        making.replace(place)
    except OSError:  # another process has made it meanwhile
        shutil.rmtree(making)


def _maps(
    recipe: Recipe, labels: Segmentation, known: NDArray[np.bool_] | None
) -> dict[str, NDArray[np.float32]]:
    """What the loss prepares of a case, if there is a loss."""
    head = recipe.segment.step.scores_head
    if recipe.loss is None or head is None:
        return {}
    with blamed(recipe.loss):
        maps = recipe.loss.step.prepare(labels, head, known)
        return {name: _checked_map(name, values, labels.grid) for name, values in maps.items()}


def _objects(labels: Segmentation) -> Segmentation:
    """With ids in every layer, those of a layer in no other; of labels, connected parts are the objects."""
    import cc3d

    array = np.zeros(labels.array.shape, np.uint32)
    highest = 0
    for ids, layer, kind in zip(array, labels.array, labels.kinds, strict=True):
        own = layer if kind == "objects" else cc3d.connected_components(layer.copy())
        np.add(own, highest, out=ids, where=own != 0, casting="unsafe")
        highest = int(ids.max(initial=highest))
    if highest > MOST_ID:
        raise InputError(f"has an object with the id {highest}; number them from 1 on, up to {MOST_ID}")
    return Segmentation.from_objects(array, labels.by_label().array, labels.grid, labels.labels)


def _cut_off(labels: Segmentation, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels of objects that reach what is not known: where they end cannot be seen."""
    from scipy.ndimage import binary_dilation

    beside = binary_dilation(~known, np.ones((3, 3, 3)))
    found = np.zeros(known.shape, np.bool_)
    for layer in labels.array:
        reached = np.unique(layer[beside])
        found |= np.isin(layer, reached[reached > 0])
    return found


def _known(valid: NDArray[np.bool_], reference: Segmentation, grid: Grid) -> NDArray[np.bool_]:
    """Where the reference is known, on the model's grid; nowhere beyond the reference's own."""
    table = LabelTable((Label(1, "known"),))
    return Segmentation(valid[None].astype(np.uint8), reference.grid, table).onto(grid).mask("known")


def _require_channels(image: Volume, recipe: Recipe) -> None:
    wanted = recipe.segment.step.channels
    if len(image.channels) != wanted:
        raise InputError(
            f"has {len(image.channels)} channels ({', '.join(image.channels)}), and the network takes "
            f"{wanted}; give all cases the same inputs"
        )


def _checked_map(name: str, values: object, grid: Grid) -> NDArray[np.float32]:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise PluginError(f"prepare() named a map {name!r}; use letters, digits, - and _")
    if not isinstance(values, np.ndarray) or values.ndim != 4 or values.shape[1:] != grid.shape:
        raise PluginError(f"prepare() gave {name!r} of another shape than [K, *{grid.shape}]")
    if not np.isfinite(values).all():
        raise PluginError(f"prepare() gave {name!r} with values that are no numbers")
    return np.asarray(values, np.float32)


def _places(mask: NDArray[np.bool_], number: int) -> NDArray[np.int64]:
    """Flat indices of a mask's voxels, at most so many, the same ones every time."""
    found = np.flatnonzero(mask)
    if len(found) > MOST_PLACES:
        rng = np.random.default_rng([number, len(found)])
        found = np.sort(rng.choice(found, MOST_PLACES, replace=False))
    return found.astype(np.int64)
