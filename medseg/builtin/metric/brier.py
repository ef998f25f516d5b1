"""Brier score: how far the probability of a label is from what is there, squared."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from medseg.builtin.metric.near_reference import ABSENT, near_reference
from medseg.prediction import Measured, Scores
from medseg.reliability import brier_score
from medseg.segmentation import Segmentation
from medseg.steps import ScoreMetric

__all__ = ["Brier"]


class Brier(ScoreMetric):
    """`brier` of each label: the mean of (probability - truth)^2 over voxels; 0 is best.

    Of the label against all else, the truth being 1 or 0: a probability of 0.5 everywhere gets 0.25, whatever
    is there. It counts both how well probabilities are calibrated and how well they tell the label from the
    rest; `ece` has the first alone. A model's card has the sum over all classes, for two twice this.

    Only voxels in the box around the label in the reference, and `margin_mm` about it, are looked at, as most
    of an image is easy background that would hide all else; null takes the whole image.

    Needs probabilities (the writer `probabilities`). They are stored in steps of 1/255, which
    changes the score by less than 0.004. A label that is absent from the reference has no value and the flag
    "absent from reference", as there is no box; with null it has one, the mean of its squared probability,
    and the flag too. Pictures without a scale need null.

    Brier GW. Verification of forecasts expressed in terms of probability. Monthly Weather Review 78 (1950)
    1-3.
    """

    better: ClassVar[Literal["high", "low"]] = "low"

    margin_mm: float | None = Field(default=10.0, ge=0)
    """How far around the reference's box to look; null for the whole image."""

    def of_scores(self, scores: Scores, reference: Segmentation, label: str) -> Iterable[Measured]:
        """Yield one row."""
        near = near_reference(scores, reference, label, margin_mm=self.margin_mm, what="brier")
        if near is None:
            yield Measured(label=label, quantity="brier", value=None, flag=ABSENT)
        else:
            value = brier_score(near.probabilities, near.true)
            yield Measured(label=label, quantity="brier", value=value, flag=near.flag)
