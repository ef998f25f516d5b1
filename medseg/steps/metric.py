"""How good a prediction is, against a reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

from medseg.errors import UsageError
from medseg.prediction import Measured, Scores
from medseg.segmentation import Segmentation
from medseg.steps.measurement import Measurement
from medseg.steps.step import Step

__all__ = ["Metric", "ScoreMetric"]


class Metric(Step, ABC):
    """Compares a prediction with a reference of the same labels on the same grid.

    `better` says which of two values is the better one: "high" for an agreement, "low" for an error.
    """

    better: ClassVar[Literal["high", "low"]] = "high"

    @abstractmethod
    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one number for each label of the reference's table, or for its objects.

        What a label scores that is absent from one or both is the metric's to say, in its docstring; `value`
        is None, with a flag, where there is no number.
        """

    @staticmethod
    def check(returned: object, *, reference: Segmentation) -> tuple[Measured, ...]:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        return Measurement.check(returned, segmentation=reference)


class ScoreMetric(Metric, ABC):
    """Compares the probability of each label with a reference: how sure a prediction was, not what it chose.

    Probabilities are large, so they are read and handed over one label at a time.
    """

    @abstractmethod
    def of_scores(self, scores: Scores, reference: Segmentation, label: str) -> Iterable[Measured]:
        """Yield the numbers of one label of the reference's table.

        `scores` has one channel, the label's probability from 0 to 1 at every voxel of the reference's grid.
        What a label without voxels in the reference scores is the metric's to say, in its docstring.
        """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Refuse: a mask does not say how sure it is."""
        raise UsageError(f"{type(self).__name__} compares probabilities, which masks do not hold")
