"""The preprocessor `clip`."""

from typing import Self

import numpy as np
from pydantic import model_validator

from medseg.steps import Preprocessor
from medseg.volume import Volume

__all__ = ["Clip"]


class Clip(Preprocessor):
    """Limit intensities from below, above or both.

    Metal, padding values and scanner artefacts lie far outside the range of tissue and would rule any scaling
    that follows. Images of whole numbers stay so where the limits are whole numbers that fit; otherwise they
    become float32.
    """

    low: float | None = None
    """Smaller values become this, in the image's own unit; null for no limit."""

    high: float | None = None
    """Larger values become this, in the image's own unit; null for no limit."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("clip needs low, high or both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

    def __call__(self, volume: Volume) -> Volume:
        """Return the image with no value outside the limits."""
        array, low, high = volume.array, self.low, self.high
        if array.dtype.kind in "iu":
            limits = np.iinfo(array.dtype)
            low = None if low is not None and low <= limits.min else low
            high = None if high is not None and high >= limits.max else high
            left = [limit for limit in (low, high) if limit is not None]
            if not left:
                return volume
            if all(limit.is_integer() and limits.min <= limit <= limits.max for limit in left):
                low, high = (None if limit is None else int(limit) for limit in (low, high))
            else:
                array = array.astype(np.float32)
        return volume.replace(array=np.clip(array, low, high))
