"""Many cases in a few numbers: mean, spread and range of each metric."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medseg.prediction import Measured

__all__ = ["ALL_LABELS", "Statistics", "summarise"]

ALL_LABELS = "(mean of labels)"


@dataclass(frozen=True)
class Statistics:
    """A metric of a label over cases: `n` of `cases` have a value, and all that follows is of those.

    `sd` is that of a sample, None below two values. Without a value all are None. Where the label is
    "(mean of labels)", the same over the means of the labels, `cases` being their number.
    """

    metric: str
    label: str
    unit: str
    cases: int
    n: int
    mean: float | None
    sd: float | None
    median: float | None
    min: float | None
    max: float | None


def summarise(cases: Iterable[Iterable[Measured]]) -> tuple[Statistics, ...]:
    """Statistics of each metric and label, in their order, and after the labels of a metric those over them.

    Values that are words, and those of single objects, are left out.
    """
    values: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for rows in cases:
        for row in rows:
            if row.object is None and not isinstance(row.value, str):
                of_metric = values.setdefault((row.quantity, row.unit), {})
                of_metric.setdefault(row.label, []).append(row.value)
    found: list[Statistics] = []
    for (metric, unit), labels in values.items():
        own = [_statistics(metric, label, unit, numbers) for label, numbers in labels.items()]
        found += [*own, _statistics(metric, ALL_LABELS, unit, [each.mean for each in own])]
    return tuple(found)


def _statistics(metric: str, label: str, unit: str, values: Sequence[float | None]) -> Statistics:
    known = [float(value) for value in values if value is not None]
    return Statistics(
        metric,
        label,
        unit,
        cases=len(values),
        n=len(known),
        mean=statistics.fmean(known) if known else None,
        sd=statistics.stdev(known) if len(known) > 1 else None,
        median=statistics.median(known) if known else None,
        min=min(known, default=None),
        max=max(known, default=None),
    )
