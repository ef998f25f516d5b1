"""Whether probabilities come true: how far they are, bin by bin, from how often they do.

Whoever evaluates a prediction and whoever trains a network ask the same, so it is computed in one place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "brier_score", "expected_calibration_error"]

BINS = 15  # as in Guo et al., On calibration of modern neural networks, ICML 2017, 1321-1330
# Of a bin's width. A file's 255 steps fall on the edges of 15 bins: what lies on an edge must not move to the
# next bin because a slope of 1/255 was rounded.
ON_THE_EDGE = 1e-5
AT_ONCE = 1 << 22  # voxels, so that a whole image needs no second one in double precision

Shares = NDArray[np.floating[Any]]
Truth = NDArray[np.bool_]


def expected_calibration_error(probabilities: Shares, true: Truth) -> float:
    """How far, on average, a probability is from the share of those like it that came true; 0 is best.

    In 15 bins of equal width, each with its upper edge (0 is in the first), the distance between the mean
    probability and the share that is true; the mean over bins, each weighted by how many are in it. Both
    arrays have one shape and at least one number.
    """
    gaps = np.zeros(BINS)
    values, came = probabilities.ravel(), true.ravel()
    for start in range(0, values.size, AT_ONCE):
        part = values[start : start + AT_ONCE].astype(np.float64)
        bins = (np.ceil(part * BINS - ON_THE_EDGE) - 1).clip(0, BINS - 1).astype(np.intp)
        gaps += np.bincount(bins, part - came[start : start + AT_ONCE], minlength=BINS)
    return float(np.abs(gaps).sum() / values.size)


def brier_score(probabilities: Shares, true: Truth) -> float:
    """The mean squared distance of a probability from what came: 1 where it did, else 0; 0 is best."""
    total = 0.0
    values, came = probabilities.ravel(), true.ravel()
    for start in range(0, values.size, AT_ONCE):
        part = values[start : start + AT_ONCE].astype(np.float64)
        total += float(np.square(part - came[start : start + AT_ONCE]).sum())
    return total / values.size
