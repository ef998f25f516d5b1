"""PNG and TIFF masks: grey or palette, label values or black and white, pixel for pixel on a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.masks.label_map import labels_of
from medseg.io.masks.layers import Tell
from medseg.io.masks.names import names_beside
from medseg.io.picture import read_picture
from medseg.segmentation import Segmentation
from medseg.volume import PICTURES, Volume

__all__ = ["read_picture_mask"]

WHITE = (255, 65535)


def read_picture_mask(path: Path, onto: Volume, tell: Tell, *, ids: bool = False) -> Segmentation:
    """The mask's labels on the picture's pixels, on those of a volume of one slice, or of a stack of pages.

    A palette's entries are label values; 0 and white alone are background and label 1. Raises InputError for
    colours, and where white stands among other values that have no names, unless they are said to be `ids` of
    objects: edges that were smoothed would become labels. Raises GeometryError where the sizes differ.
    """
    picture = read_picture(path, pixel_size=None, palette_as_values=True)
    values = _grey(picture.array, path.name)
    size = picture.grid.shape
    if onto.grid.shape != size:
        flat = size[:2] if size[2] == 1 else size
        here, there = (" x ".join(str(n) for n in shape) for shape in (flat, onto.grid.shape))
        raise GeometryError(f"{path.name}: {here} pixels, the image has {there}; give the mask of this image")
    if size[2] > 1 and not _has_no_sides(onto):
        raise GeometryError(
            f"{path.name}: nothing says how its pages lie in the patient; give the mask in the image's format"
        )
    names = names_beside(path)
    there_are = set(np.unique(values).tolist()) - {0}
    if len(there_are) == 1 and there_are <= set(WHITE) and not there_are & set(names):
        values = (values != 0).astype(np.uint8)
    elif not ids and max(there_are, default=0) in WHITE and len(there_are) > 1 and not names:
        raise InputError(
            f"{path.name}: holds white ({max(there_are)}) and {len(there_are) - 1} other values: smoothed "
            "edges or labels? Save it as black and white, or name its labels in a .json file beside it"
        )
    array, table = labels_of(values, names, path.name, tell)
    return Segmentation(array[None], onto.grid, table)


def _has_no_sides(onto: Volume) -> bool:
    """Whether the image is a stack of pages too, whose axes are names only."""
    return onto.grid.unit == "px" or (onto.source is not None and onto.source.format in PICTURES)


def _grey(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The only channel `[x, y, z]`, of colours that are all grey too; raises InputError for any other."""
    colours = array[:3] if len(array) > 2 else array[:1]
    alpha = array[len(colours) :]
    if (colours != colours[0]).any():
        raise InputError(f"{name}: a mask in colours; save it as label values, in grey or with a palette")
    if alpha.size and (alpha != alpha.max()).any():
        raise InputError(f"{name}: a mask with transparent parts; save it without an alpha channel")
    grey: NDArray[Any] = colours[0]
    return grey
