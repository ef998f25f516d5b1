"""A case of a dataset in memory: its image, its labels under the dataset's table, what is ignored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.config import InputSpec
from medseg.errors import InputError, UsageError
from medseg.io import STRICT, Policy, inspect, read
from medseg.io.masks import read_segmentation
from medseg.io.regular_file import printable
from medseg.pipeline import Input
from medseg.run.inputs import join, read_inputs
from medseg.segmentation import LayerKind, Object, Segmentation
from medseg.training.dataset.case import Case, Dataset
from medseg.training.dataset.found import is_picture
from medseg.training.dataset.masks import (
    WHITE,
    inside,
    is_label_map,
    present,
    require_same_grid,
    standing,
    values_of,
)
from medseg.volume import PICTURES, Volume

__all__ = ["FOR_STRAY", "Example", "Reference", "read_case", "read_image", "read_reference"]

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]
FOR_STRAY = "add it to `labels:`, or give it as `ignore:`, or correct the mask"
SLIGHT = 0.01  # of the smaller structure: an edge drawn twice, not two structures that overlap


class Example(NamedTuple):
    """A case to learn from: the image, its labels, and which voxels `[i, j, k]` are ignored (None: none)."""

    volume: Volume
    segmentation: Segmentation | None
    ignore: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Reference:
    """Labels of a case, what of them is ignored, and what its mask holds that no label has."""

    segmentation: Segmentation
    ignore: NDArray[np.bool_] | None = None
    stray: tuple[str, ...] = ()


def read_case(case: Case, dataset: Dataset, *, policy: Policy = STRICT, tell: Tell = logger.info) -> Example:
    """The image with a channel for each input, its labels in uint8 (uint16 above 255), what is ignored.

    Labels lie on the image's own grid, those whose masks hold ids of objects in layers of objects. `tell`
    gets a line for everything that was decided.

    Raises InputError for what cannot be read and for values that no label has, GeometryError, with the
    numbers, for a mask on other voxels; each message begins with the case's id.
    """
    try:
        volume = read_image(case, dataset, policy=policy)
        if not case.labelled:
            return Example(volume, None, None)
        reference = read_reference(case, dataset, volume, tell=tell)
        _refuse_stray(reference)
    except (InputError, UsageError) as problem:
        raise type(problem)(f"case {case.id}: {problem}") from problem
    return Example(volume, reference.segmentation, reference.ignore)


def _refuse_stray(reference: Reference) -> None:
    if reference.stray:
        raise InputError(f"its mask holds {', '.join(reference.stray)}, which no label has; {FOR_STRAY}")


def read_image(case: Case, dataset: Dataset, *, policy: Policy = STRICT) -> Volume:
    """The image with a channel for each input, on the grid of the first; see `medseg.run.inputs.join`."""
    if len(set(case.images.values())) == 1 < len(dataset.inputs):
        return _of_one_file(case, dataset, policy)
    volumes: dict[str, Volume] = {}
    for spec in dataset.inputs:
        volumes |= _read(spec, case.images[spec.name], dataset, policy)
    return join(volumes)


def _read(spec: InputSpec, path: Path, dataset: Dataset, policy: Policy) -> dict[str, Volume]:
    size = dataset.pixel_size if is_picture(path) else None
    wanted = Input(spec.name, spec.modality, spec.select)
    return read_inputs((wanted,), {spec.name: path}, force_modality=False, pixel_size=size, policy=policy)


def _of_one_file(case: Case, dataset: Dataset, policy: Policy) -> Volume:
    """The volumes of a 4-D file, or the channels of an image, as the dataset's inputs."""
    names = tuple(spec.name for spec in dataset.inputs)
    path = case.images[names[0]]
    held = inspect(path)[0]
    if held.phases == 1 and held.channels == len(names):
        return read(path, policy=policy).replace(channels=names)
    if held.phases != len(names):
        raise InputError(
            f"{printable(path)}: holds {held.phases} volume{'s' * (held.phases != 1)}, the dataset names "
            f"{len(names)} inputs; name as many as there are"
        )
    volumes: dict[str, Volume] = {}
    for number, spec in enumerate(dataset.inputs, start=1):
        volumes |= _read(spec, path, dataset, replace(policy, phase=number))
    # which volume is read is the dataset's own order, and no decision on a doubt
    return join({name: _undecided(volume) for name, volume in volumes.items()})


def _undecided(volume: Volume) -> Volume:
    if volume.source is None:
        return volume
    return volume.replace(source=replace(volume.source, decided=(), verdict="ok"))


def read_reference(case: Case, dataset: Dataset, volume: Volume, *, tell: Tell = logger.info) -> Reference:
    """The case's labels on the image's grid, with what its mask holds that no label has."""
    if case.masks:
        return _of_structures(case, dataset, volume, tell)
    if case.label is None:
        raise InputError("has no mask")
    if is_label_map(case.label):
        return _of_values(case.label, dataset, volume, tell)
    return _of_names(case.label, dataset, volume, tell)


def _of_values(path: Path, dataset: Dataset, volume: Volume, tell: Tell) -> Reference:
    values, grid = values_of(path)
    values = _on_image(values, grid, path, volume, tell)
    if dataset.of_objects:
        return _of_objects(values, dataset, volume)
    there = present(values)
    known = {value for each in dataset.values.values() for value in each}
    if is_picture(path) and _is_black_and_white(there, known, dataset):
        only = next(iter(known))
        white = inside(values, dataset.threshold, "its mask", tell, picture=True)
        values, there = white.astype(np.uint16) * np.uint16(only), [only]
    ignore = None if dataset.ignore is None else np.asarray(values == dataset.ignore)
    stray = tuple(str(value) for value in there if value not in known and value != dataset.ignore)
    array = np.zeros((dataset.labels.layers, *values.shape), _kind(dataset))
    for layer in range(len(array)):
        array[layer] = _translated(values, dataset, layer)
    return Reference(Segmentation(array, volume.grid, dataset.labels), ignore, stray)


def _of_objects(values: NDArray[Any], dataset: Dataset, volume: Volume) -> Reference:
    """Ids of objects, all of the one label that there is."""
    ignore = None if dataset.ignore is None else np.asarray(values == dataset.ignore)
    (only,) = dataset.labels
    ids = values if ignore is None else np.where(ignore, 0, values)
    objects = tuple(Object(number, only.name) for number in present(ids))
    array = ids[None].astype(np.min_scalar_type(max((thing.id for thing in objects), default=0)))
    return Reference(Segmentation(array, volume.grid, dataset.labels, ("objects",), objects), ignore)


def _is_black_and_white(there: list[int], known: set[int], dataset: Dataset) -> bool:
    """Whether a picture's largest value is white, and means the one label there is."""
    if not there or len(known) != 1 or dataset.ignore in there:
        return False
    return there[-1] in WHITE and there[-1] not in known


def _translated(values: NDArray[Any], dataset: Dataset, layer: int) -> NDArray[Any]:
    """The labels of a layer for the values of a mask."""
    named = {
        value: label.value
        for label in dataset.labels
        if label.layer == layer
        for value in dataset.values[label.name]
    }
    if values.dtype.itemsize > 2:
        values = np.where(values <= max(named, default=0), values, 0).astype(np.uint16)
    table = np.zeros(1 << (8 * values.dtype.itemsize), _kind(dataset))
    table[list(named)] = list(named.values())
    return np.asarray(table[values])


def _kind(dataset: Dataset) -> np.dtype[Any]:
    return np.min_scalar_type(max(label.value for label in dataset.labels))


def _on_image(values: NDArray[Any], grid: Any, path: Path, volume: Volume, tell: Tell) -> NDArray[Any]:
    """The values in the image's axes; a picture has none of its own, its size alone must fit."""
    if is_picture(path):
        if grid.shape != volume.grid.shape:
            flat = grid.shape[:2] if grid.shape[2] == 1 else grid.shape
            here, there = (" x ".join(map(str, shape)) for shape in (flat, volume.grid.shape))
            raise InputError(f"its mask has {here} pixels, the image {there}; give the mask of this image")
        if grid.shape[2] > 1 and (volume.source is None or volume.source.format not in PICTURES):
            raise InputError("its mask is a stack of pages, and the image is none; give both in one format")
        return values
    require_same_grid(grid, volume.grid, "its mask", tell)
    return standing(values, grid, volume.grid)


def _of_structures(case: Case, dataset: Dataset, volume: Volume, tell: Tell) -> Reference:
    """A mask for each structure; slight overlaps, as of edges drawn twice, go to the later one."""
    if dataset.of_objects:
        return _of_objects_apart(case, dataset, volume, tell)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, path in case.masks.items():
        values, grid = values_of(path)
        values = _on_image(values, grid, path, volume, tell)
        masks[name] = inside(values, dataset.threshold, f"mask {name!r}", tell, picture=is_picture(path))
    _settle_overlaps(masks, dataset, tell)
    return Reference(Segmentation.from_masks(masks, volume.grid, dataset.labels))


def _of_objects_apart(case: Case, dataset: Dataset, volume: Volume, tell: Tell) -> Reference:
    """A mask of ids for each structure, numbered on from one to the next; overlaps as with structures.

    A structure whose mask has a value is one object, as tissue is beside its nuclei.
    """
    ids: dict[str, NDArray[Any]] = {}
    ignore = None if dataset.ignore is None else np.zeros(volume.grid.shape, np.bool_)
    for name, path in case.masks.items():
        values, grid = values_of(path)
        values = _on_image(values, grid, path, volume, tell)
        if ignore is not None:
            ignore |= values == dataset.ignore
            values = np.where(values == dataset.ignore, 0, values)
        if dataset.values[name]:
            flat = is_picture(path)
            values = inside(values, dataset.threshold, f"mask {name!r}", tell, picture=flat)
        ids[name] = values.astype(np.uint32)
    _settle_overlaps({name: values != 0 for name, values in ids.items()}, dataset, tell)
    array = np.zeros((dataset.labels.layers, *volume.grid.shape), np.uint32)
    objects: list[Object] = []
    for name, values in ids.items():
        there, before = present(values), len(objects) + 1
        objects += [Object(before + n, name) for n in range(len(there))]
        numbers = before + np.searchsorted(there, values).astype(np.uint32)
        np.copyto(array[dataset.labels[name].layer], numbers, where=values != 0)
    kinds: list[LayerKind] = ["objects"] * len(array)
    found = Segmentation(array, volume.grid, dataset.labels, tuple(kinds), tuple(objects))
    return Reference(found, ignore)


def _settle_overlaps(masks: Mapping[str, NDArray[np.bool_]], dataset: Dataset, tell: Tell) -> None:
    names = list(masks)
    for n, first in enumerate(names):
        for second in names[n + 1 :]:
            if dataset.labels[first].layer != dataset.labels[second].layer:
                continue
            shared = int(np.count_nonzero(masks[first] & masks[second]))
            if not shared:
                continue
            smaller = min(int(np.count_nonzero(masks[name])) for name in (first, second))
            if shared > SLIGHT * smaller:
                raise InputError(
                    f"masks {first!r} and {second!r} overlap in {shared} voxels, {shared / smaller:.0%} of "
                    "the smaller; say `overlap: layers` in dataset.yaml to learn both there"
                )
            tell(f"masks {first!r} and {second!r} overlap in {shared} voxels, which become {second!r}")


def _of_names(path: Path, dataset: Dataset, volume: Volume, tell: Tell) -> Reference:
    """A mask that names its structures: DICOM SEG, RTSTRUCT, COCO, .seg.nrrd; its objects stay objects."""
    found = read_segmentation(path, onto=volume, tell=tell)
    by_name = {label.name.casefold(): label.name for label in found.labels}
    masks = {
        label.name: found.mask(by_name[label.name.casefold()])
        for label in dataset.labels
        if label.name.casefold() in by_name
    }
    if not masks:
        names = ", ".join(repr(label.name) for label in found.labels) or "none"
        raise InputError(f"its mask names no label of the dataset; it has {names}; name them as `labels:`")
    _settle_overlaps(masks, dataset, tell)
    of_objects = all(found.kinds[found.labels[by_name[name.casefold()]].layer] == "objects" for name in masks)
    wanted = {label.name.casefold() for label in dataset.labels}
    for word, name in by_name.items():
        if word not in wanted:
            tell(f"{name!r} in its mask is no label of the dataset: left out")
    if of_objects:
        return Reference(_with_objects(found, by_name, masks, dataset))
    return Reference(Segmentation.from_masks(masks, volume.grid, dataset.labels))


def _with_objects(
    found: Segmentation, by_name: Mapping[str, str], masks: Mapping[str, NDArray[np.bool_]], dataset: Dataset
) -> Segmentation:
    """The objects of the labels that have masks, under the dataset's names and in its layers."""
    array = np.zeros((dataset.labels.layers, *found.grid.shape), found.array.dtype)
    objects: list[Object] = []
    for name, mask in masks.items():
        theirs = by_name[name.casefold()]
        np.copyto(array[dataset.labels[name].layer], found.array[found.labels[theirs].layer], where=mask)
        objects += [replace(thing, label=name) for thing in found.objects if thing.label == theirs]
    kinds: list[LayerKind] = ["objects"] * len(array)
    return Segmentation(array, found.grid, dataset.labels, tuple(kinds), tuple(objects))
