"""Labels from a file into a table and as few layers as they need: names and values made unique, none lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.decoder import refuse_oversize
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

__all__ = [
    "MOST_VALUE",
    "Tell",
    "hexadecimal",
    "in_layers",
    "is_nameless",
    "listed",
    "smallest_type",
    "unique",
]

Tell = Callable[[str], None]
"""Takes one line for each thing that was decided on the way."""

MOST_VALUE = (1 << 32) - 1  # uint32, the largest type a layer has
MOST_SHOWN = 6


def unique(labels: Sequence[Label], tell: Tell) -> list[Label]:
    """The labels with a name and a value of their own each, in their order.

    Nameless ones become "label 3", a second "liver" becomes "liver 2". Where any value is 0, negative, taken
    or too large for uint32, all become 1, 2, 3, … and the change is told.
    """
    values = [label.value for label in labels]
    if len(set(values)) < len(values) or any(not 1 <= value <= MOST_VALUE for value in values):
        labels = [replace(label, value=number) for number, label in enumerate(labels, start=1)]
        told = [f"{old} to {label.value}" for old, label in zip(values, labels, strict=True)]
        tell(f"label values that are 0, negative or used twice: renumbered from {listed(told)}")
    taken: set[str] = set()
    named = []
    for label in labels:
        name = stem = label.name or f"label {label.value}"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem} {number}"
        taken.add(name)
        named.append(replace(label, name=name))
    return named


def is_nameless(table: LabelTable) -> bool:
    """Whether labels are called "label 1", "label 2" after their values, as where a file names none."""
    return all(label.name == f"label {label.value}" for label in table)


def in_layers(labels: Sequence[Label], wheres: Iterable[NDArray[Any]], grid: Grid, name: str) -> Segmentation:
    """Labels with the voxels of each, put into the first layer where they overlap nothing.

    `wheres` are flat C-order indices; names and values of the labels are unique already.
    One layer where nothing overlaps.
    """
    kind = smallest_type(max((label.value for label in labels), default=0))
    count = math.prod(grid.shape)
    layers = [np.zeros(count, kind)]
    placed = []
    for label, where in zip(labels, wheres, strict=True):
        layer = next((n for n, one in enumerate(layers) if not one[where].any()), len(layers))
        if layer == len(layers):
            refuse_oversize(kind.itemsize * count * (len(layers) + 1), name)
            layers.append(np.zeros(count, kind))
        layers[layer][where] = label.value
        placed.append(replace(label, layer=layer))
    array = layers[0][None] if len(layers) == 1 else np.stack(layers)
    return Segmentation(array.reshape(len(layers), *grid.shape), grid, LabelTable(tuple(placed)))


def smallest_type(highest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds label values up to `highest`."""
    return np.min_scalar_type(highest)


def hexadecimal(rgb: NDArray[np.float64]) -> str | None:
    """`#rrggbb` of red, green and blue from 0 to 255; None where they are no colour."""
    if rgb.shape != (3,) or not np.isfinite(rgb).all():
        return None
    return "#" + bytes(int(part) for part in np.rint(rgb).clip(0, 255)).hex()


def listed(words: Sequence[str]) -> str:
    """A few of the words, and how many more there are."""
    rest = len(words) - MOST_SHOWN
    return ", ".join(words[:MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
