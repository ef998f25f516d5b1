"""The preprocessor `percentile-rescale`."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medseg.builtin.preprocess.foreground import Foreground, check_foreground, inside
from medseg.steps import Preprocessor
from medseg.volume import Volume

__all__ = ["PercentileRescale"]


class PercentileRescale(Preprocessor):
    """Scale the range between two percentiles to 0 to 1.

    For images without a unit (MR, ultrasound, microscopy): a few very bright or dark voxels do not decide
    the scale, as they would with minimum and maximum. Each channel is scaled by itself; the result is
    float32. Percentiles between two voxels' values are interpolated linearly. Where both percentiles are
    the same value, as in a channel of zeros, the result is zeros.
    """

    low: float = Field(default=0.5, ge=0, le=100)
    """Percentile that becomes 0, in per cent of foreground voxels."""

    high: float = Field(default=99.5, ge=0, le=100)
    """Percentile that becomes 1, in per cent of foreground voxels."""

    foreground: Foreground = "whole"
    """Where the percentiles come from: whole image, nonzero (skull-stripped MR), or above a value."""

    above: float | None = None
    """With foreground: above, the value that foreground exceeds, in the image's own unit."""

    clip: bool = True
    """Limit the result to 0 to 1; false to let darker and brighter voxels lie outside."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        check_foreground(self.foreground, self.above)
        return self

    def __call__(self, volume: Volume) -> Volume:
        """Return the image scaled channel by channel."""
        scaled = np.empty(volume.array.shape, np.float32)
        for channel, values in enumerate(volume.array):
            self._rescale(values, out=scaled[channel])
        return volume.replace(array=scaled)

    def _rescale(self, values: NDArray[Any], *, out: NDArray[np.float32]) -> None:
        """Write the scaled `values[i, j, k]` into `out`."""
        mask = inside(values, self.foreground, self.above)
        chosen = values.ravel() if mask is None else values[mask]
        low, high = np.percentile(chosen, (self.low, self.high)) if chosen.size else (0.0, 0.0)
        if low == high:
            out[:] = 0
            return
        # subtracted in float64: a narrow range far from zero would drown in float32
        np.subtract(values, low, out=out, dtype=np.float64, casting="same_kind")
        out /= high - low
        if self.clip:
            np.clip(out, 0, 1, out=out)
