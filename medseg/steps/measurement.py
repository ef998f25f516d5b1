"""Numbers from masks."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from medseg.errors import PluginError
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps.step import Step
from medseg.volume import Volume

__all__ = ["Measurement"]

SUMS_BYTES = 24 << 20


class Measurement(Step, ABC):
    """Turns a finished segmentation into numbers: label, quantity, unit, and a flag where one is doubtful."""

    libraries: ClassVar[Mapping[str, int]] = {"scipy.ndimage": 28 << 20}

    @property
    def wants(self) -> Wanted:
        """What this must have kept of the prediction, besides the labels."""
        return Wanted()

    @abstractmethod
    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield measurements; `volume` is the image as it was read, `segmentation` lies on its grid."""

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """Memory it takes at most beside its input, told by shapes and types alone, so that a limit is kept.

        A mask of the whole image, twice the values of one channel under it, and 24 MiB for sums. Override it
        where a measurement takes more.
        """
        return math.prod(volume.grid.shape) * (1 + 2 * volume.array.dtype.itemsize) + SUMS_BYTES

    @staticmethod
    def check(returned: object, *, segmentation: Segmentation) -> tuple[Measured, ...]:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        if not isinstance(returned, Iterable):
            raise PluginError(f"returned {type(returned).__name__}, not measurements")
        return tuple(_checked(row, segmentation) for row in returned)


def _checked(row: object, segmentation: Segmentation) -> Measured:
    """One row that files can hold: a NumPy number (of `mask.sum()`, say) becomes a plain one."""
    if not isinstance(row, Measured):
        raise PluginError(f"yielded {type(row).__name__}, not Measured")
    if row.label not in segmentation.labels:
        raise PluginError(f"measured {row.label!r}, which is no label of the segmentation")
    what = f"measured {row.quantity} of {row.label!r}"
    value: Any = row.value
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float | str | None):
        raise PluginError(f"{what} as {type(value).__name__}, not a number or a word")
    if isinstance(value, float) and not math.isfinite(value):
        raise PluginError(f"{what} as {value}; use None and a flag")
    interval = None if row.interval is None else (float(row.interval[0]), float(row.interval[1]))
    if interval is not None and not -math.inf < interval[0] <= interval[1] < math.inf:
        raise PluginError(f"{what} between {interval[0]} and {interval[1]}, which is no interval")
    return replace(row, value=value, interval=interval)
