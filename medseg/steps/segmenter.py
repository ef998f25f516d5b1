"""The component that segments, and the predictor it opens."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from medseg.errors import PluginError
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps.step import Step
from medseg.volume import Grid, Volume

__all__ = ["Predictor", "Segmenter"]


class Predictor(ABC):
    """An opened segmenter: owns weights and memory, used for one case or a whole cohort."""

    @abstractmethod
    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """Say, without running, what a volume on `grid` will take."""

    @abstractmethod
    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment `volume` (as preprocessed) and return labels on the native grid `onto`."""

    @staticmethod
    def check(returned: object, *, onto: Grid) -> Prediction:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        if not isinstance(returned, Prediction):
            raise PluginError(f"returned {type(returned).__name__}, not a Prediction")
        check_segmentation(returned.segmentation, onto=onto)
        return returned


class Segmenter(Step, ABC):
    """Finds structures in a preprocessed volume; parameters only, `open` gives the working Predictor."""

    @abstractmethod
    def labels(self) -> LabelTable | None:
        """The labels it gives; None where the pipeline file's `labels:` says so."""

    @abstractmethod
    def open(self, resources: Resources) -> AbstractContextManager[Predictor]:
        """Load what is needed, once, and give a Predictor."""


def check_segmentation(returned: object, *, onto: Grid) -> Segmentation:
    """A Segmentation on `onto` whose values all have a label; raises PluginError with what is wrong."""
    if not isinstance(returned, Segmentation):
        raise PluginError(f"returned {type(returned).__name__}, not a Segmentation")
    if not returned.grid.same_as(onto):
        raise PluginError(f"returned labels on {returned.grid!r}, not on {onto!r} as it was asked to")
    for layer, kind in enumerate(returned.kinds):
        if kind == "labels":
            known = {label.value for label in returned.labels if label.layer == layer}
        else:
            known = {thing.id for thing in returned.objects}
        present = {int(value) for value in _values(returned, layer)} - {0}
        if not present <= known:
            raise PluginError(f"returned {kind} {sorted(present - known)[:5]} that its table does not know")
    return returned


def _values(segmentation: Segmentation, layer: int) -> list[int]:
    """The distinct values of a layer, without sorting a whole volume where a count does."""
    import numpy as np

    array = segmentation.array[layer]
    if array.dtype.itemsize <= 2:
        return [int(v) for v in np.flatnonzero(np.bincount(array.ravel()))]
    return [int(v) for v in np.unique(array)]
