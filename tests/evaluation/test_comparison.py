from collections.abc import Callable, Iterable

import numpy as np
import pytest

from medseg.errors import PluginError, UsageError
from medseg.evaluation import metrics_named
from medseg.evaluation.comparison import measured, of_probabilities, require_distinct
from medseg.pipeline import Stage
from medseg.prediction import Measured, Scores
from medseg.segmentation import Segmentation
from medseg.steps import Metric, ScoreMetric

Painted = Callable[..., Segmentation]


class Mean(ScoreMetric):
    """Mean probability in the image, twice where `repeats`."""

    repeats: bool = False
    """Whether to."""

    def of_scores(self, scores: Scores, reference: Segmentation, label: str) -> Iterable[Measured]:
        for _ in range(1 + self.repeats):
            yield Measured(label=label, quantity="mean", value=float(scores.array.mean()), unit="%")


def stage(step: Metric) -> Stage[Metric]:
    return Stage("metrics[0]", "mean", "elsewhere", "1", step, {})


def test_rows_stay_with_their_metric_in_the_order_of_the_metrics(painted: Painted) -> None:
    """And the probability of a label is asked for once, however many metrics compare it."""
    both = painted({1: ("liver", 2), 2: ("spleen", 8)})
    asked = []

    def probability(label: str) -> Scores | None:
        asked.append(label)
        shape = (1, *both.grid.shape)
        return Scores(np.full(shape, 0.5), both.grid, "probabilities") if label == "liver" else None

    metrics = [*metrics_named("dice, ece, hd95"), stage(Mean())]
    rows = measured(both, both, metrics, probability)
    assert [[(row.quantity, row.label, row.flag) for row in own] for own in rows] == [
        [("dice", "liver", ""), ("dice", "spleen", "")],
        [("ece", "liver", ""), ("ece", "spleen", "no probabilities")],
        [("hd95", "liver", ""), ("hd95", "spleen", "")],
        [("mean", "liver", ""), ("mean", "spleen", "no probabilities")],
    ]
    assert (rows[3][1].value, rows[3][1].unit) == (None, "%")
    assert asked == ["liver", "spleen"]
    assert of_probabilities(metrics) == ("ece", "mean")


def test_nobody_is_asked_for_probabilities_that_are_not_compared(painted: Painted) -> None:
    both = painted({1: ("liver", 2)})

    def never(label: str) -> Scores | None:
        raise AssertionError(label)

    assert len(measured(both, both, metrics_named("dice"), never)) == 1


def test_a_metric_that_gives_a_number_twice_is_to_blame(painted: Painted) -> None:
    both = painted({1: ("liver", 2)})
    scores = Scores(np.zeros((1, *both.grid.shape)), both.grid, "probabilities")
    with pytest.raises(PluginError, match="measured mean of 'liver', which is there already") as blamed:
        measured(both, both, [stage(Mean(repeats=True))], lambda label: scores)
    assert blamed.value.__notes__ == ["metrics[0]: mean (elsewhere 1)"]


def test_two_margins_of_one_metric_cannot_be_told_apart() -> None:
    with pytest.raises(UsageError, match="ece gives ece twice"):
        metrics_named("ece, ece: {margin_mm: null}")
    require_distinct(metrics_named("ece, brier, nsd: {tolerance_mm: 1}, nsd: {tolerance_mm: 2}"))
