"""Masks on a grid, in memory and as files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.io.nifti import write_labels
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

SHAPE = (14, 12, 10)
AFFINE = np.array([[-1.0, 0, 0, 20], [0, 1.5, 0, -7], [0, 0, 3, 40], [0, 0, 0, 1]])


def cube(start: int, size: int = 4) -> NDArray[np.bool_]:
    """A cube of 4 x 4 in the plane, `size` long along i from `start`."""
    found = np.zeros(SHAPE, bool)
    found[start : start + size, 2:6, 2:6] = True
    return found


@pytest.fixture
def painted() -> Callable[..., Segmentation]:
    """`painted({1: ("liver", 2)})`: names by value, each with a cube from a place (None: empty)."""

    def make(what: dict[int, tuple[str, int | None]]) -> Segmentation:
        table = LabelTable(tuple(Label(value, name) for value, (name, _) in what.items()))
        masks = {name: cube(start) for name, start in what.values() if start is not None}
        return Segmentation.from_masks(masks, Grid(SHAPE, AFFINE), table)

    return make


@pytest.fixture
def save() -> Callable[..., Path]:
    """Write cubes by value as a label map; with the names of a table where there are any."""

    def write(path: Path, starts: dict[int, int], names: dict[int, str] | None = None, **more: Any) -> Path:
        array = np.zeros(SHAPE, np.uint8)
        for value, start in starts.items():
            array[cube(start)] = value
        affine = more.get("affine", AFFINE)
        path.parent.mkdir(parents=True, exist_ok=True)
        if names is None:
            nib.save(nib.Nifti1Image(array.astype(more.get("dtype", np.uint8)), affine), path)
        else:
            table = LabelTable(tuple(Label(value, name) for value, name in names.items()))
            write_labels(array, Grid(SHAPE, affine), path, labels=table, source=None)
        return path

    return write
