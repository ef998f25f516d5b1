"""A pair of masks from their files, both on the reference's voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.errors import InputError, UsageError
from medseg.evaluation.objects import as_objects, as_objects_of
from medseg.evaluation.pairs import DICOM_ENDINGS, Files, Pair
from medseg.io import inspect, read
from medseg.io.masks import read_segmentation
from medseg.io.masks.objects import may_be_ids
from medseg.io.regular_file import open_regular
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Volume

__all__ = ["read_pair", "require_one_volume"]

GRIDLESS = (".json", *DICOM_ENDINGS)  # formats whose masks need the image that they were drawn on
SEVERAL = (".nii", ".nii.gz")  # formats of which a file may hold several volumes

Tell = Callable[[str], None]


def read_pair(
    pair: Pair, tell: Tell, *, pixel_size: float | None = None, objects: str | None = None
) -> tuple[Segmentation, Segmentation]:
    """Prediction and reference; `tell` gets a line for everything that was decided on the way.

    The grid is the reference's. Where that has none of its own (DICOM contours, COCO), it is the
    prediction's, which lies on the image. `pixel_size` is the scale in mm of pictures. `objects` names the
    label whose objects' ids the values of label maps are. Raises InputError where a file cannot be read or
    would lose labels, UsageError for a pixel size of other files.
    """
    for path in (*pair.reference, *pair.prediction):
        require_one_volume(path)
    onto = _image(pair, pixel_size)
    ids = objects is not None
    reference = _merged(pair.reference, onto, lambda line: tell(f"reference: {line}"), ids)
    prediction = _merged(pair.prediction, onto, lambda line: tell(f"prediction: {line}"), ids)
    if objects is not None:
        return as_objects_of(objects, prediction), as_objects_of(objects, reference)
    if may_be_ids(prediction.labels) and may_be_ids(reference.labels):
        tell("without names, values are compared as labels; if they are ids of objects, say --objects NAME")
    found = _as_objects("prediction", pair.prediction, prediction, reference, tell)
    return found, _as_objects("reference", pair.reference, reference, prediction, tell)


def _as_objects(
    which: str, files: Files, part: Segmentation, other: Segmentation, tell: Tell
) -> Segmentation:
    try:
        return as_objects(part, other, lambda line: tell(f"{which}: {line}"))
    except InputError as problem:
        raise InputError(f"{files[0].name} ({which}): {problem}") from problem


def require_one_volume(path: Path) -> None:
    """Refuse a file that has a volume for each time point or channel, of which none is chosen here."""
    if path.name.lower().endswith(SEVERAL):
        count = inspect(path)[0].phases
        if count > 1:
            raise InputError(f"{path.name}: holds {count} volumes; give a file that holds one, of this case")


def _image(pair: Pair, pixel_size: float | None) -> Volume:
    """An image on the grid that decides."""
    for files in (pair.reference, pair.prediction):
        if not _is_gridless(files[0]):
            return read(files[0], pixel_size=pixel_size)
    raise InputError(
        f"{pair.reference[0].name}: neither it nor its prediction says which voxels it is on; "
        "write one with `medseg convert MASK --onto IMAGE`"
    )


def _is_gridless(path: Path) -> bool:
    if path.name.lower().endswith(GRIDLESS):
        return True
    with open_regular(path) as file:
        return bool(file.read(132)[128:] == b"DICM")


def _merged(files: Files, onto: Volume, tell: Tell, ids: bool) -> Segmentation:
    """One segmentation of all files, the layers of each after those of the one before."""
    first, *others = [read_segmentation(path, onto=onto, tell=tell, ids=ids) for path in files]
    if not others:
        return first
    parts, labels, layers = [first], list(first.labels), len(first.array)
    for read_part in others:
        part = _renumbered(read_part, {label.value for label in labels}, tell)
        labels += [replace(label, layer=label.layer + layers, pair=None) for label in part.labels]
        layers += len(part.array)
        parts.append(part)
    names = {label.name for label in labels}
    kept = [label if label.pair in names else replace(label, pair=None) for label in labels]
    try:
        table = LabelTable(tuple(kept))
    except UsageError as problem:
        raise InputError(f"{files[0].name} and the masks beside it: {problem}") from problem
    return Segmentation(
        np.concatenate([part.array for part in parts]),
        onto.grid,
        table,
        kinds=tuple(kind for part in parts for kind in part.kinds),
        objects=tuple(thing for part in parts for thing in part.objects),
    )


def _renumbered(part: Segmentation, taken: set[int], tell: Tell) -> Segmentation:
    """The same under values that are free, where some are taken: each file counts from 1 for itself."""
    free = 1 + max((*taken, *(label.value for label in part.labels)), default=0)
    table, array = [], part.array
    for label in part.labels:
        if label.value not in taken:
            table.append(label)
            continue
        if part.kinds[label.layer] == "labels":
            array = array.astype(np.promote_types(array.dtype, np.min_scalar_type(free)))
            array[label.layer][part.array[label.layer] == label.value] = free
        tell(f"label {label.name!r} has the value {free}, as another file has a label {label.value}")
        table.append(replace(label, value=free))
        free += 1
    return part.replace(array=array, labels=LabelTable(tuple(table)))
