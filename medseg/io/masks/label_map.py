"""Label maps: images whose voxels are label values, as NIfTI, NRRD, MetaImage and 3-D Slicer's .seg.nrrd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io import read
from medseg.io.masks.layers import MOST_VALUE, Tell, smallest_type, unique
from medseg.io.masks.names import names_beside
from medseg.io.masks.objects import objects_of
from medseg.io.masks.place import placed
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Volume

__all__ = ["labels_of", "read_label_map", "whole_values"]

MOST_LABELS = 4096  # values without names: more is an image, unless they lie in patches as ids of objects do


def read_label_map(path: Path, onto: Volume, tell: Tell) -> Segmentation:
    """The labels of a volume on the image's grid; names from a NIfTI header extension, else from beside it.

    Where the extension says whose objects the values are, they are a layer of objects.

    Raises InputError for several channels, negative values and fractions: that is an image or a score.
    """
    volume = read(path)
    if len(volume.array) != 1:
        raise InputError(f"{path.name}: {len(volume.array)} channels; a label map has one")
    values = whole_values(volume.array[0], path.name)
    names: dict[int, str] = {}
    objects: dict[str, tuple[int, ...]] = {}
    if volume.source is not None and volume.source.format.startswith("NIfTI"):
        from medseg.io.nifti import read_label_names, read_label_objects

        names, objects = read_label_names(path), read_label_objects(path)
    if objects:
        found = objects_of(values, volume.grid, objects, names, tell)
        if found is not None:
            return placed(found, onto.grid, path.name, tell)
    array, table = labels_of(values, names or names_beside(path), path.name, tell)
    return placed(Segmentation(array[None], volume.grid, table), onto.grid, path.name, tell)


def whole_values(values: NDArray[Any], name: str) -> NDArray[Any]:
    """The values as unsigned integers in the smallest type; raises InputError where they are none."""
    low, high = values.min(), values.max()
    if low < 0:
        raise InputError(f"{name}: its smallest value is {low:g}; labels are 0 (background), 1, 2, …")
    if high > MOST_VALUE:
        raise InputError(f"{name}: its largest value is {high:g}; labels reach up to {MOST_VALUE}")
    whole = values.astype(smallest_type(int(high)))
    if values.dtype.kind == "f" and (whole != values).any():
        raise InputError(f"{name}: its values are not whole numbers; it holds scores or an image, not labels")
    return whole


def labels_of(
    values: NDArray[Any], names: dict[int, str], name: str, tell: Tell
) -> tuple[NDArray[Any], LabelTable]:
    """The values and a label for each that is present or named; a name used twice is numbered."""
    there = {int(value) for value in np.unique(values)} - {0}
    named = {value: word for value, word in names.items() if 1 <= value <= MOST_VALUE}
    if len(there - set(named)) > MOST_LABELS and not _in_patches(values):
        raise InputError(f"{name}: {len(there)} different values; it is an image, not a label map")
    labels = [Label(value, named.get(value, "").strip()) for value in sorted(there | set(named))]
    return values, LabelTable(tuple(unique(labels, tell)))


def _in_patches(values: NDArray[Any]) -> bool:
    """Whether at least half of the neighbours along the first axis that are both no background are equal."""
    here, there = values[1:], values[:-1]
    both = np.logical_and(here, there)
    return bool(2 * np.count_nonzero(both & (here == there)) >= np.count_nonzero(both) > 0)
