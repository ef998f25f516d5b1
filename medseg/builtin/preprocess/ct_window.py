"""The preprocessor `ct-window`."""

from typing import Self

import numpy as np
from pydantic import model_validator

from medseg.steps import Preprocessor
from medseg.volume import Volume

__all__ = ["CtWindow"]


class CtWindow(Preprocessor):
    """Scale a range of Hounsfield units to 0 to 1.

    Hounsfield units are absolute (air -1000, water 0), so a fixed range keeps their meaning from patient to
    patient, which scaling by each image's own statistics would lose. What lies outside the range becomes 0
    or 1. The default spans lung to enhanced vessels; -160 to 240 is the usual window for abdominal organs.
    The result is float32.
    """

    low: float = -1000.0
    """Becomes 0, as does everything below, in HU."""

    high: float = 400.0
    """Becomes 1, as does everything above, in HU."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

    def __call__(self, volume: Volume) -> Volume:
        """Return the image between 0 and 1."""
        scaled = volume.array.astype(np.float32)
        np.clip(scaled, self.low, self.high, out=scaled)
        scaled -= np.float32(self.low)
        scaled /= np.float32(self.high) - np.float32(self.low)
        return volume.replace(array=scaled)
