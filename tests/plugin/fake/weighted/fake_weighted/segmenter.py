"""Segmenters with files of their own, which they never open."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from pydantic import Field

from medseg.prediction import Resources
from medseg.segmentation import Label, LabelTable
from medseg.steps import Predictor, Segmenter


class Weighted(Segmenter):
    """Names files and opens none."""

    weights: dict[str, str]
    """Path to sha256."""

    def labels(self) -> LabelTable | None:
        return LabelTable((Label(1, "bright"),))

    def files(self) -> Mapping[str, str]:
        return self.weights

    def open(self, resources: Resources) -> AbstractContextManager[Predictor]:
        raise AssertionError("checking a model opened it")


class Untold(Weighted):
    """Does not say what it should."""

    weights: dict[str, str] = Field(default_factory=dict)

    def files(self) -> Mapping[str, str]:
        return {"a.safetensors": None}  # type: ignore[dict-item]  # what other authors may well do
