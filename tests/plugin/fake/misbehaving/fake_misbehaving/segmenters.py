"""Segmenters that break their contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Predictor, Segmenter
from medseg.volume import Grid, Volume

LABELS = LabelTable((Label(1, "thing"),))


class Empty(Predictor):
    """Find nothing."""

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        return Plan(device="cpu", peak_bytes=1)

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Any:
        return Prediction(segmentation=self.found(onto))

    def found(self, onto: Grid) -> Segmentation:
        return Segmentation.from_masks({}, onto, LABELS)


class Finder(Segmenter):
    """Find nothing, correctly."""

    def labels(self) -> Any:
        return LABELS

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Any]:
        yield self.predictor()

    def predictor(self) -> Any:
        return Empty()


class Elsewhere(Empty):
    def found(self, onto: Grid) -> Segmentation:
        affine = onto.affine.copy()
        affine[0, 3] += 5
        return Segmentation.from_masks({}, Grid(onto.shape, affine), LABELS)


class Moved(Finder):
    """Return labels on a grid of its own."""

    def predictor(self) -> Any:
        return Elsewhere()


class Silent(Empty):
    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Any:
        return None


class NoPrediction(Finder):
    """Return nothing."""

    def predictor(self) -> Any:
        return Silent()


class Seven(Empty):
    def found(self, onto: Grid) -> Segmentation:
        return Segmentation(np.full((1, *onto.shape), 7, np.uint8), onto, LABELS)


class UnknownLabel(Finder):
    """Return a value that no label has."""

    def predictor(self) -> Any:
        return Seven()


class OpenFails(Finder):
    """Fail to open."""

    def predictor(self) -> Any:
        raise KeyError("weights")


class NoPredictor(Finder):
    """Open something else."""

    def open(self, resources: Resources) -> Any:
        return Empty()


class LabelsDict(Finder):
    """Name labels by a dictionary."""

    def labels(self) -> Any:
        return {1: "thing"}


class LabelsFail(Finder):
    """Name one label twice."""

    def labels(self) -> Any:
        return LabelTable((Label(1, "thing"), Label(2, "thing")))


class TwoThings(Empty):
    def found(self, onto: Grid) -> Segmentation:
        labels = LabelTable((*LABELS, Label(2, "surprise")))
        return Segmentation(np.full((1, *onto.shape), 2, np.uint8), onto, labels)


class MoreLabels(Finder):
    """Find what `labels` does not announce."""

    def predictor(self) -> Any:
        return TwoThings()


class Uncertain(Empty):
    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Any:
        nothing = Volume(np.full((1, *onto.shape), np.nan), onto)
        return Prediction(segmentation=self.found(onto), maps={"entropy": nothing})


class NanMap(Finder):
    """Return a map of NaN."""

    def predictor(self) -> Any:
        return Uncertain()
