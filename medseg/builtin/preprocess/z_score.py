"""The preprocessor `z-score`."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from medseg.builtin.preprocess.foreground import Foreground, check_foreground, inside
from medseg.steps import Preprocessor
from medseg.volume import Volume

__all__ = ["ZScore"]


class ZScore(Preprocessor):
    """Shift and scale intensities to mean 0 and standard deviation 1.

    MR intensities have no unit and differ between scanners; this makes them comparable, each image by
    itself. The image comes out as (value - mean) / sd, float32, with mean and population standard deviation
    of the foreground accumulated in float64. Where all foreground has one value, or a channel holds only
    zeros in place of a missing one, the standard deviation is 0 and the result is zeros.
    """

    foreground: Foreground = "whole"
    """Where mean and deviation come from: whole image, nonzero (skull-stripped MR), or above a value."""

    above: float | None = None
    """With foreground: above, the value that foreground exceeds, in the image's own unit."""

    outside: Literal["scaled", "zero"] = "scaled"
    """Voxels outside the foreground: scaled like all others, or zero, as nnU-Net and MONAI leave them."""

    per_channel: bool = True
    """Each channel by its own mean and deviation; false for those of all channels together."""

    @model_validator(mode="after")
    def _foreground_is_said(self) -> Self:
        check_foreground(self.foreground, self.above)
        return self

    def __call__(self, volume: Volume) -> Volume:
        """Return the image with standardised intensities."""
        scores = np.empty(volume.array.shape, np.float32)
        together = slice(0, len(volume.array))
        parts = [slice(c, c + 1) for c in range(len(volume.array))] if self.per_channel else [together]
        for part in parts:
            self._standardise(volume.array[part], out=scores[part])
        return volume.replace(array=scores)

    def _standardise(self, array: NDArray[Any], *, out: NDArray[np.float32]) -> None:
        """Write the scores of `array[c, i, j, k]` into `out`."""
        mask = inside(array, self.foreground, self.above)
        values = array.ravel() if mask is None else array[mask]
        if values.size == 0 or values.min() == values.max():
            out[:] = 0
            return
        mean = float(values.mean(dtype=np.float64))
        deviation = float(values.std(dtype=np.float64, mean=np.float64(mean)))
        # subtracted in float64: a small deviation on a large mean would drown in float32
        np.subtract(array, mean, out=out, dtype=np.float64, casting="same_kind")
        out /= deviation
        if mask is not None and self.outside == "zero":
            out[~mask] = 0
