"""Scores of cases in tables: statistics of each metric and label, and the cases from the worst on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from medseg.prediction import Measured

__all__ = ["DICE", "CaseScores", "LabelStatistics", "label_statistics", "metrics_of", "worst_first"]

DICE = "dice"


@dataclass(frozen=True)
class CaseScores:
    """What the metrics made of one case, which fold it was held out in."""

    case: str
    fold: str
    measured: tuple[Measured, ...]

    @cached_property
    def _rows(self) -> dict[tuple[str, str], Measured]:
        """What was measured of labels as a whole, by metric and label."""
        return {(row.quantity, row.label): row for row in self.measured if row.object is None}

    def row(self, metric: str, label: str) -> Measured | None:
        """What was measured of a label as a whole; None where nothing was."""
        return self._rows.get((metric, label))

    def value(self, metric: str, label: str) -> float | None:
        """A label's number; None where there is none."""
        row = self.row(metric, label)
        return None if row is None else number_of(row)

    def mean(self, metric: str) -> float | None:
        """The mean over the labels that have a number."""
        known = [
            value
            for (quantity, _), row in self._rows.items()
            if quantity == metric and (value := number_of(row)) is not None
        ]
        return statistics.fmean(known) if known else None


@dataclass(frozen=True)
class LabelStatistics:
    """A metric of a label over cases; `n` of `cases` have a value, and the rest is of those."""

    metric: str
    unit: str
    label: str
    cases: int
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """How many cases have a value."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Mean."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Standard deviation of a sample; None below two values."""
        return statistics.stdev(self.values) if self.n > 1 else None

    @property
    def median(self) -> float | None:
        """Median."""
        return statistics.median(self.values) if self.values else None

    @property
    def lowest(self) -> float | None:
        """Smallest value: of Dice the worst, of a distance the best."""
        return min(self.values, default=None)

    @property
    def highest(self) -> float | None:
        """Largest value."""
        return max(self.values, default=None)


def number_of(row: Measured) -> float | None:
    """The number of a measurement; None for a word, and for what is no number."""
    value = row.value
    if isinstance(value, str) or value is None or not math.isfinite(value):
        return None
    return float(value)


def metrics_of(cases: Iterable[CaseScores]) -> tuple[tuple[str, str], ...]:
    """The metrics and their units, in the order in which they come."""
    return tuple(
        dict.fromkeys(
            (row.quantity, row.unit) for case in cases for row in case.measured if row.object is None
        )
    )


def label_statistics(cases: Sequence[CaseScores], labels: Iterable[str]) -> tuple[LabelStatistics, ...]:
    """Statistics of every metric and label, of those labels too that have no value anywhere."""
    names = tuple(labels)
    found = []
    for metric, unit in metrics_of(cases):
        for label in names:
            rows = [row for case in cases if (row := case.row(metric, label)) and row.unit == unit]
            values = tuple(value for row in rows if (value := number_of(row)) is not None)
            found.append(LabelStatistics(metric, unit, label, len(cases), values))
    return tuple(found)


def worst_first(
    cases: Iterable[CaseScores], metric: str = DICE, better: Literal["high", "low"] = "high"
) -> tuple[CaseScores, ...]:
    """By the mean of a metric over a case's labels; those without any come last, equal ones by name."""

    def key(case: CaseScores) -> tuple[float, str]:
        mean = case.mean(metric)
        if mean is None:
            return (math.inf, case.case)
        return (mean if better == "high" else -mean, case.case)

    return tuple(sorted(cases, key=key))
