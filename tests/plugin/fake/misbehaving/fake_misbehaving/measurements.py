"""Measurements that break their contract."""

from typing import Any

from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Volume


class Plain(Measurement):
    """Measure nothing."""

    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Any:
        return ()


class NanRow(Plain):
    """Yield NaN."""

    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Any:
        yield Measured(label=next(iter(segmentation.labels)).name, quantity="mean", value=float("nan"))


class UnknownRow(Plain):
    """Measure what is no label."""

    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Any:
        yield Measured(label="spleeen", quantity="mean", value=1.0)


class NoRows(Plain):
    """Return nothing."""

    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Any:
        return None


class WrongRow(Plain):
    """Yield a plain number."""

    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Any:
        yield 1.0


class Late(Plain):
    """Fail while rows are taken from it, not when it is called."""

    def __call__(self, volume: Volume, segmentation: Segmentation, prediction: Prediction) -> Any:
        yield Measured(label=next(iter(segmentation.labels)).name, quantity="mean", value=1.0)
        raise ZeroDivisionError("in row 2")


class WantsFails(Plain):
    """Fail when asked what it wants."""

    @property
    def wants(self) -> Wanted:
        raise LookupError("not configured")


class WantsNothing(Plain):
    """Answer what it wants with None."""

    @property
    def wants(self) -> Any:
        return None
