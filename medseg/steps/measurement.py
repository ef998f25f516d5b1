"""Numbers from masks."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

from medseg.errors import PluginError
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps.step import Step
from medseg.volume import Volume

__all__ = ["Measurement"]


class Measurement(Step, ABC):
    """Turns a finished segmentation into numbers, each with label, quantity, unit and a flag where it is doubtful."""

    @property
    def wants(self) -> Wanted:
        """What this must have kept of the prediction, besides the labels."""
        return Wanted()

    @abstractmethod
    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Iterable[Measured]:
        """Yield measurements; `volume` is the image as it was read, `segmentation` lies on its grid."""

    @staticmethod
    def check(returned: object, *, segmentation: Segmentation) -> tuple[Measured, ...]:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        if not isinstance(returned, Iterable):
            raise PluginError(f"returned {type(returned).__name__}, not measurements")
        rows = tuple(returned)
        for row in rows:
            if not isinstance(row, Measured):
                raise PluginError(f"yielded {type(row).__name__}, not Measured")
            if row.label not in segmentation.labels:
                raise PluginError(f"measured {row.label!r}, which is no label of the segmentation")
            if isinstance(row.value, float) and not math.isfinite(row.value):
                raise PluginError(f"measured {row.quantity} of {row.label!r} as {row.value}; use None and a flag")
        return rows
