"""A pair of masks from their files, both on the reference's voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.errors import InputError, UsageError
from medseg.evaluation.pairs import DICOM_ENDINGS, Files, Pair
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.io.regular_file import open_regular
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Volume

__all__ = ["read_pair"]

GRIDLESS = (".json", *DICOM_ENDINGS)  # formats whose masks need the image that they were drawn on

Tell = Callable[[str], None]


def read_pair(pair: Pair, tell: Tell) -> tuple[Segmentation, Segmentation]:
    """Prediction and reference; `tell` gets a line for everything that was decided on the way.

    The grid is the reference's. Where that has none of its own (DICOM contours, COCO), it is the
    prediction's, which lies on the image. Raises InputError where a file cannot be read or would lose labels.
    """
    onto = _image(pair)
    reference = _merged(pair.reference, onto, lambda line: tell(f"reference: {line}"))
    prediction = _merged(pair.prediction, onto, lambda line: tell(f"prediction: {line}"))
    return prediction, reference


def _image(pair: Pair) -> Volume:
    """An image on the grid that decides."""
    for files in (pair.reference, pair.prediction):
        if not _is_gridless(files[0]):
            return read(files[0])
    raise InputError(
        f"{pair.reference[0].name}: neither it nor its prediction says which voxels it is on; "
        "write one with `medseg convert MASK --onto IMAGE`"
    )


def _is_gridless(path: Path) -> bool:
    if path.name.lower().endswith(GRIDLESS):
        return True
    with open_regular(path) as file:
        return bool(file.read(132)[128:] == b"DICM")


def _merged(files: Files, onto: Volume, tell: Tell) -> Segmentation:
    """One segmentation of all files, the layers of each after those of the one before."""
    first, *others = [read_segmentation(path, onto=onto, tell=tell) for path in files]
    if not others:
        return first
    labels, layers = list(first.labels), len(first.array)
    for part in others:
        labels += [replace(label, layer=label.layer + layers, pair=None) for label in part.labels]
        layers += len(part.array)
    parts = (first, *others)
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
