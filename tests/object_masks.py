"""Masks of objects, and the files that medseg's writers leave of them."""

from pathlib import Path

import numpy as np
from results import result_of

from medseg.builtin.write.nifti import Nifti
from medseg.builtin.write.seg_nrrd import SegNrrd
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

GRID = Grid((24, 12, 10), np.diag([1.0, 1.5, 2.0, 1.0]))
NUCLEI = ("nucleus",)
KINDS = ("round", "long")


def cubes(numbers: tuple[int, ...], names: tuple[str, ...] = NUCLEI) -> Segmentation:
    """Cubes that touch in pairs, all in layer 0, by their ids; of several labels in turn."""
    array = np.zeros((1, *GRID.shape), np.uint16)
    for place, number in enumerate(numbers):
        start = 1 + 2 * place + place // 2
        array[0, start : start + 2, 2:5, 2:5] = number
    return Segmentation(
        array,
        GRID,
        LabelTable(tuple(Label(value, name) for value, name in enumerate(names, start=1))),
        kinds=("objects",),
        objects=tuple(Object(number, names[n % len(names)]) for n, number in enumerate(numbers)),
    )


def as_nrrd(folder: Path, segmentation: Segmentation) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (path,) = SegNrrd()(result_of(segmentation), folder)
    return path


def as_nifti(folder: Path, segmentation: Segmentation) -> Path:
    """Of one layer."""
    folder.mkdir(parents=True, exist_ok=True)
    (path,) = Nifti()(result_of(segmentation), folder)
    return path


def things(segmentation: Segmentation) -> set[tuple[int, str]]:
    return {(thing.id, thing.label) for thing in segmentation.objects}
