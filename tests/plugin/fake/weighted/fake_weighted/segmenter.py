"""Segmenters with files of their own, which they never open."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        raise AssertionError("checking a model opened it")
        yield


class Untold(Weighted):
    """Does not say what it should."""

    weights: dict[str, str] = Field(default_factory=dict)

    def files(self) -> Mapping[str, str]:
        return {"a.safetensors": None}  # type: ignore[dict-item]  # what other authors may well do
