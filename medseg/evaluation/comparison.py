"""What metrics say of a prediction and its reference, held against their contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from medseg.errors import MedsegError, PluginError, UsageError
from medseg.evaluation.cube import cube
from medseg.pipeline import Stage, blamed
from medseg.prediction import Measured, Scores
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Metric, ScoreMetric

__all__ = ["Rows", "measured", "of_probabilities", "require_distinct", "without_probabilities"]

NO_PROBABILITIES = "no probabilities"  # the flag of a label of which there is no file

Rows = tuple[Measured, ...]
ProbabilityOf = Callable[[str], Scores | None]
"""The probability of a label on the reference's grid; None where it is not known."""


def measured(
    found: Segmentation,
    wanted: Segmentation,
    metrics: Sequence[Stage[Metric]],
    probability: ProbabilityOf = lambda label: None,
) -> tuple[Rows, ...]:
    """The rows of each metric, in the order of the metrics.

    `probability` is asked once for each label of the reference, and only where a metric compares it.
    """
    scored = _of_scores(
        wanted, [stage for stage in metrics if isinstance(stage.step, ScoreMetric)], probability
    )
    rows = []
    seen: set[tuple[str, int | None, str]] = set()
    for stage in metrics:
        with blamed(stage):
            if isinstance(stage.step, ScoreMetric):
                own = scored.pop(0)
            else:
                own = Metric.check(stage.step(found, wanted), reference=wanted)
            for row in own:
                key = (row.label, row.object, row.quantity)
                if key in seen:
                    raise PluginError(f"measured {row.quantity} of {row.label!r}, which is there already")
                seen.add(key)
        rows.append(own)
    return tuple(rows)


def _of_scores(
    wanted: Segmentation, metrics: Sequence[Stage[Metric]], probability: ProbabilityOf
) -> list[Rows]:
    """The rows of metrics of probabilities, label by label, so that one label's are in memory at once."""
    rows: list[list[Measured]] = [[] for _ in metrics]
    for label in wanted.labels if metrics else ():
        scores = probability(label.name)
        for own, stage in zip(rows, metrics, strict=True):
            if scores is not None and isinstance(stage.step, ScoreMetric):
                with blamed(stage):
                    said = stage.step.of_scores(scores, wanted, label.name)
                    own.extend(Metric.check(said, reference=wanted))
    return [(*own, *without_probabilities(wanted.labels, own)) for own in rows]


def without_probabilities(labels: LabelTable, rows: Sequence[Measured]) -> Rows:
    """What a metric of probabilities says of labels that have none: the others' quantities, without value."""
    known = {row.label for row in rows}
    quantities = dict.fromkeys((row.quantity, row.unit) for row in rows if row.object is None)
    return tuple(
        Measured(label=label.name, quantity=quantity, value=None, unit=unit, flag=NO_PROBABILITIES)
        for label in labels
        if label.name not in known
        for quantity, unit in quantities
    )


def of_probabilities(metrics: Iterable[Stage[Metric]]) -> tuple[str, ...]:
    """The names of the metrics that compare probabilities."""
    return tuple(stage.name for stage in metrics if isinstance(stage.step, ScoreMetric))


def require_distinct(metrics: Sequence[Stage[Metric]]) -> None:
    """Raise UsageError where a metric is there twice and gives a quantity twice: none is told apart."""
    times = Counter(type(stage.step) for stage in metrics)
    given: set[tuple[type[Metric], str]] = set()
    one = cube()
    sure = Scores(one.mask("cube").astype(np.float32)[None], one.grid, "probabilities")
    for stage in metrics:
        kind = type(stage.step)
        if times[kind] == 1:
            continue
        try:
            (rows,) = measured(one, one, [stage], lambda label: sure)
        except MedsegError:  # a metric for other images: the first case tells
            continue
        quantities = {row.quantity for row in rows}
        for quantity in sorted(quantities):
            if (kind, quantity) in given:
                raise UsageError(
                    f"metrics: {stage.name} gives {quantity} twice; name it once in an evaluation"
                )
        given |= {(kind, quantity) for quantity in quantities}
