"""How far statistics over cases would spread if other cases had been looked at: the bootstrap.

Cases are drawn again and again with replacement, those of one subject together, and the statistic is computed
each time; the middle 95 % of what comes out are the interval. The seed is fixed, so that an evaluation gives
the same numbers each time.

Efron B, Tibshirani RJ. An introduction to the bootstrap. Chapman & Hall 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "RESAMPLES", "SEED", "draws", "interval", "weighted_means", "weighted_medians"]

RESAMPLES = 2000
LEVEL = 95  # per cent
SEED = 0
FEWEST_KNOWN = 0.5  # of the resamples must have a value, else there is no interval

Weights = NDArray[np.int64]
Numbers = NDArray[np.float64]


def draws(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED) -> Weights:
    """How often each case is drawn in each resample, `[resamples, cases]`; a group is drawn as a whole.

    As many groups as there are, each with the same chance. The order of the cases makes no difference.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    random = np.random.default_rng(seed)
    times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.asarray(times[:, group], np.int64)


def weighted_means(values: Numbers, weights: Weights) -> Numbers:
    """The mean of the values in each resample; NaN is no value, and the mean of none."""
    known = ~np.isnan(values)
    count = weights[:, known].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weights[:, known] @ values[known] / count)


def weighted_medians(values: Numbers, weights: Weights) -> Numbers:
    """The median of the values in each resample, the mean of the two in the middle where there are two."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return np.full(len(weights), np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    ranks = np.cumsum(weights[:, order], axis=1)  # how many drawn values there are up to this one
    count = ranks[:, -1]
    lower = np.argmax(ranks > ((count - 1) // 2)[:, None], axis=1)
    upper = np.argmax(ranks > (count // 2)[:, None], axis=1)
    medians = (values[order[lower]] + values[order[upper]]) / 2
    return np.where(count > 0, medians, np.nan)


def interval(estimates: Numbers) -> tuple[float, float] | None:
    """What the middle 95 % of the resamples lie between; None where half of them have no value."""
    known = estimates[~np.isnan(estimates)]
    if len(known) == 0 or len(known) < FEWEST_KNOWN * len(estimates):
        return None
    beyond = (100 - LEVEL) / 2
    low, high = np.percentile(known, (beyond, 100 - beyond))
    return float(low), float(high)
