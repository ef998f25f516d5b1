from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.head.softmax import Softmax
from medseg.inference import ArgmaxSink, Decoded, ObjectSink
from medseg.prediction import Sink
from medseg.segmentation import LabelTable
from medseg.volume import Grid


class SureOfALabel(Softmax):
    """Takes a label for the background."""

    def background_logits(self, labels: LabelTable) -> tuple[float, ...]:
        return (0.0, 1.0, *(0.0,) * (len(labels) - 1))


class ShortBackground(Softmax):
    """Says too little of the background."""

    def background_logits(self, labels: LabelTable) -> tuple[float, ...]:
        return (1.0,)


class TellsNothingApart(Softmax):
    """Says that it tells objects apart, and gives labels."""

    of_objects: ClassVar[bool] = True

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        return ArgmaxSink(labels, grid=grid, axis=axis, onto=onto)


class JoinsWhatTouches(Softmax):
    """Takes connected parts for objects, which touching ones are not."""

    of_objects: ClassVar[bool] = True

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        return ObjectSink(labels, grid=grid, axis=axis, channels=3, decode=_parts)


def _parts(scores: NDArray[np.float32]) -> Decoded:
    """One object of all that is not background."""
    ids = (scores.argmax(axis=0) > 0).astype(np.int32)
    first = np.argwhere(ids)[:1]
    return Decoded(ids, first, np.zeros(len(first), np.int64), np.ones(len(first), np.float32))
