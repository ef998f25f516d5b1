"""Many cases in a few numbers: mean, spread and range of each metric, and how sure they are."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medseg.evaluation.bootstrap import draws, interval, weighted_means, weighted_medians
from medseg.prediction import Measured

__all__ = ["ALL_LABELS", "Pools", "Statistics", "summarise"]

logger = logging.getLogger(__name__)

ALL_LABELS = "(mean of labels)"

Numbers = NDArray[np.float64]
Values = dict[str, dict[int, float | None]]
"""By label and number of the case."""


@runtime_checkable
class Pools(Protocol):
    """A metric that is also a number of all cases together, made of sums over them, not of their values."""

    def pooled(self, sums: Mapping[str, Numbers]) -> Mapping[str, Numbers]:
        """What the sums over cases of each quantity make, by quantity; NaN where there is no number.

        `sums` are arrays of one length, whose places have nothing to do with each other; so is what is given.
        """


@dataclass(frozen=True)
class Statistics:
    """A metric of a label over cases: `n` of `cases` have a value, and all that follows is of those.

    `sd` is that of a sample, None below two values. Without a value all are None. Where the label is
    "(mean of labels)", the same over the means of the labels, `cases` being their number. `mean_low` to
    `mean_high` is the 95 % interval of the mean by the bootstrap over cases (over subjects where those are
    known), and likewise of the median and of `pooled`, which is the number of all cases together of metrics
    that have one. Without a second case (or subject) there is no interval.
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
    mean_low: float | None = None
    mean_high: float | None = None
    median_low: float | None = None
    median_high: float | None = None
    pooled: float | None = None
    pooled_low: float | None = None
    pooled_high: float | None = None


def summarise(
    cases: Iterable[Iterable[Measured]], *, groups: Sequence[str] | None = None, pools: Iterable[Pools] = ()
) -> tuple[Statistics, ...]:
    """Statistics of each metric and label, in their order, and after the labels of a metric those over them.

    Values that are words, and those of single objects, are left out. `groups` says which cases belong
    together (are of one subject), a name for each; without it there are no intervals. `pools` are metrics
    that are also a number of all cases together.
    """
    values: dict[tuple[str, str], Values] = {}
    number = -1
    for number, rows in enumerate(cases):
        for row in rows:
            if row.object is None and not isinstance(row.value, str):
                of_metric = values.setdefault((row.quantity, row.unit), {})
                of_metric.setdefault(row.label, {})[number] = row.value
    weights = draws(groups) if groups and len(set(groups)) > 1 else None
    found: list[Statistics] = []
    for (metric, unit), labels in values.items():
        own = [_statistics(metric, label, unit, numbers) for label, numbers in labels.items()]
        over = _statistics(metric, ALL_LABELS, unit, dict(enumerate(each.mean for each in own)))
        found += [*own, over] if weights is None else _with_intervals(own, over, labels, weights)
    every = np.ones((1, 1 + number))
    for pool in pools:
        found = _with_pooled(found, pool, values, every if weights is None else np.vstack([every, weights]))
    return tuple(found)


def _statistics(metric: str, label: str, unit: str, values: Mapping[int, float | None]) -> Statistics:
    known = [float(value) for value in values.values() if value is not None]
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


def _with_intervals(
    own: Sequence[Statistics], over: Statistics, labels: Values, weights: NDArray[np.int64]
) -> list[Statistics]:
    """The rows of a metric with intervals of mean and median; over labels, of the means in each resample."""
    found, means = [], []
    for row in own:
        values = _by_case(labels[row.label], weights.shape[1])
        drawn = weighted_means(values, weights)
        medians = weighted_medians(values, weights)
        found.append(_between(row, drawn, medians) if row.n > 1 else row)
        if row.n:
            means.append(drawn)
    if any(row.n > 1 for row in own):  # a resample in which one of the labels is missing is no mean of them
        together = np.stack(means)
        over = _between(over, together.mean(axis=0), np.median(together, axis=0))
    return [*found, over]


def _between(row: Statistics, means: Numbers, medians: Numbers) -> Statistics:
    mean, median = interval(means) or (None, None), interval(medians) or (None, None)
    return replace(row, mean_low=mean[0], mean_high=mean[1], median_low=median[0], median_high=median[1])


def _by_case(values: Mapping[int, float | None], cases: int) -> Numbers:
    """The values in order of the cases, NaN where one has none."""
    found = np.full(cases, np.nan)
    for number, value in values.items():
        if value is not None:
            found[number] = value
    return found


def _with_pooled(
    rows: Sequence[Statistics], pool: Pools, values: Mapping[tuple[str, str], Values], weights: Numbers
) -> list[Statistics]:
    """The rows with the numbers of all cases together; a row for each label where the metric has none.

    The first of the `weights` are ones: the cases as they are. Quantities in two units cannot be added up: a
    metric that needs the sum of one has no such number, and the log says so.
    """
    units: dict[str, list[str]] = {}
    for quantity, unit in values:
        units.setdefault(quantity, []).append(unit)
    single = {quantity: labels for (quantity, _), labels in values.items() if len(units[quantity]) == 1}
    found = {(row.metric, row.unit, row.label): row for row in rows}
    for label in dict.fromkeys(row.label for row in rows if row.label != ALL_LABELS):
        sums = {
            quantity: weights @ np.nan_to_num(_by_case(labels.get(label, {}), weights.shape[1]))
            for quantity, labels in single.items()
        }
        count = max(len(labels.get(label, {})) for labels in values.values())
        try:
            pooled = pool.pooled(sums)
        except KeyError as missing:
            if missing.args[0] not in units:
                raise
            between = " and ".join(units[missing.args[0]])
            logger.warning("no number of all cases together: %s is in %s", missing.args[0], between)
            return list(rows)
        for quantity, estimates in pooled.items():
            whole = None if np.isnan(estimates[0]) else float(estimates[0])
            unit = units.get(quantity, [""])[0]
            row = found.get((quantity, unit, label)) or Statistics(
                quantity, label, unit, count, 0 if whole is None else count, *[None] * 5
            )
            ends = interval(estimates[1:]) if whole is not None else None
            low, high = ends or (None, None)
            found[quantity, unit, label] = replace(row, pooled=whole, pooled_low=low, pooled_high=high)
    return list(found.values())
