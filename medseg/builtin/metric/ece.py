"""Expected calibration error: how far probabilities are from how often they come true."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from medseg.builtin.metric.near_reference import ABSENT, near_reference
from medseg.prediction import Measured, Scores
from medseg.reliability import expected_calibration_error
from medseg.segmentation import Segmentation
from medseg.steps import ScoreMetric

__all__ = ["Ece"]


class Ece(ScoreMetric):
    """`ece` of each label: how far its probability is, on average, from how often it comes true; 0 is best.

    Of the label against all else: voxels are put into 15 bins of equal width by the label's probability, and
    the distance between the mean probability of a bin and the share of its voxels that are the label counts
    by how many those are. A probability on an edge belongs to the bin below; 0 is in the first.

    Only voxels in the box around the label in the reference, and `margin_mm` about it, are looked at. Most of
    an image is background of which any network is rightly sure: taken in, it makes every network look well
    calibrated, the more so the larger the image. What is made up further away is not seen then; null takes
    the whole image, whose values depend on its field of view.

    Needs probabilities (the writer `probabilities`). They are stored in steps of 1/255, whose
    every 17th is an edge of a bin: an error of 0.002 is rounding. A label that is absent from the reference
    has no value and the flag "absent from reference", as there is no box; with null it has one, the flag
    too: how likely it was called where it is not. Pictures without a scale need null.

    Guo C et al. On calibration of modern neural networks. ICML 2017, 1321-1330.
    """

    better: ClassVar[Literal["high", "low"]] = "low"

    margin_mm: float | None = Field(default=10.0, ge=0)
    """How far around the reference's box to look; null for the whole image."""

    def of_scores(self, scores: Scores, reference: Segmentation, label: str) -> Iterable[Measured]:
        """Yield one row."""
        near = near_reference(scores, reference, label, margin_mm=self.margin_mm, what="ece")
        if near is None:
            yield Measured(label=label, quantity="ece", value=None, flag=ABSENT)
        else:
            value = expected_calibration_error(near.probabilities, near.true)
            yield Measured(label=label, quantity="ece", value=value, flag=near.flag)
