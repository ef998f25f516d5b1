"""Voxels that two masks have in common and those that only one of them has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medseg.builtin.metric.label_pair import LabelPair

__all__ = ["Counts", "counts_of", "share"]


@dataclass(frozen=True)
class Counts:
    """Voxels of the whole image: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def union(self) -> int:
        """Voxels of either mask."""
        return self.tp + self.fp + self.fn


def counts_of(pair: LabelPair) -> Counts:
    """Count the voxels of a pair of masks; those outside the crop are true negatives."""
    common = int(np.count_nonzero(pair.prediction & pair.reference))
    found, wanted = (int(np.count_nonzero(mask)) for mask in (pair.prediction, pair.reference))
    everywhere = math.prod(pair.grid.shape)
    return Counts(common, found - common, wanted - common, everywhere - found - wanted + common)


def share(part: float, whole: float) -> float | None:
    """A part of a whole; None of nothing."""
    return part / whole if whole else None
