"""Which voxels of an image the intensity statistics of a step are taken from."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError

__all__ = ["Foreground", "check_foreground", "inside"]

Foreground = Literal["whole", "nonzero", "above"]


def check_foreground(foreground: Foreground, above: float | None) -> None:
    """Raise ValueError unless `above` is given exactly where `foreground` asks for it."""
    if foreground == "above" and above is None:
        raise ValueError("foreground: above needs a value in above")
    if foreground != "above" and above is not None:
        raise ValueError(f"above is used with foreground: above only, not with {foreground}")


def inside(array: NDArray[Any], foreground: Foreground, above: float | None) -> NDArray[np.bool_] | None:
    """Mark the foreground of `array` (any shape); None where that is all of it.

    Raises InputError where nothing is above the threshold. An image of zeros has no foreground either, but is
    common as a stand-in for a missing channel, so it gives an empty mask.
    """
    if foreground == "whole":
        return None
    if foreground == "nonzero":
        return np.asarray(array != 0)
    mask = np.asarray(array > above)
    if not mask.any():
        raise InputError(f"no voxel is above {above:g} (the largest is {array.max():g}); lower `above`")
    return mask
