"""A threshold that counts its openings, and how many call it at the same time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Predictor, Segmenter
from medseg.volume import Grid, Volume

LABELS = LabelTable((Label(1, "ball"),))
opened: list[int] = []
closed: list[int] = []
at_work: list[int] = []
most_at_work: list[int] = []


class Threshold(Predictor):
    """All above 50; stumbles over a value of 666."""

    def __init__(self, slow_s: float) -> None:
        self.slow_s = slow_s

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        return Plan(device="cpu", peak_bytes=1)

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        at_work.append(1)
        most_at_work.append(len(at_work))
        time.sleep(self.slow_s)
        at_work.pop()
        if volume.array.max() == 666:
            raise ZeroDivisionError("the number\nof the beast")
        return Prediction(segmentation=Segmentation.from_masks({"ball": volume.array[0] > 50}, onto, LABELS))


class Counting(Segmenter):
    """A threshold whose openings are counted."""

    slow_s: float = 0.0
    """Seconds to wait in each call."""

    def labels(self) -> LabelTable:
        return LABELS

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        opened.append(1)
        yield Threshold(self.slow_s)
        closed.append(1)
