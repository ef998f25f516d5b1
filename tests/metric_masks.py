"""Masks to hold metrics against libraries and against counts by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a test module

from medseg.prediction import Measured

__all__ = ["BARS", "bars", "blob", "tensors", "values"]

BARS = (30, 20, 6)


def blob(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Rounded noise that does not reach the border of the image."""
    inner = ndimage.gaussian_filter(rng.normal(size=[n - 4 for n in shape]), 2) > 0.03
    return np.pad(np.asarray(inner), 2)


def tensors(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Two masks as MONAI takes them."""
    import torch

    first, second = (torch.from_numpy(mask)[None, None].float() for mask in (one, two))
    return first, second


def bars(*starts: tuple[int, int], length: int = 4) -> NDArray[np.bool_]:
    """Bars of 2 x 2 voxels from places along i and j, in an image of the shape BARS."""
    found = np.zeros(BARS, bool)
    for i, j in starts:
        found[i : i + length, j : j + 2, 2:4] = True
    return found


def values(rows: Iterable[Measured]) -> dict[str, Any]:
    """The values by quantity."""
    return {row.quantity: row.value for row in rows}
