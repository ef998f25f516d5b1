"""Volumes from summed probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medseg.inference.coverage import Coverage
from medseg.inference.probabilities import Activation, first_label, probabilities
from medseg.inference.threads import spread
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink
from medseg.segmentation import LabelTable
from medseg.volume import Grid

__all__ = ["SoftVolumeSink"]


class SoftVolumeSink(Sink):
    """The sum of each label's probability times the volume of a voxel, on the model grid, in mL by name.

    Sums are in double precision and do not depend on the order in which threads add. Raises
    GeometryError where the grid is in pixels.
    """

    def __init__(self, labels: LabelTable, *, grid: Grid, axis: int, activation: Activation) -> None:
        self._labels = labels
        self._activation = activation
        self._voxel_ml = grid.voxel_ml
        self._coverage = Coverage(grid, axis)
        self._sums: list[NDArray[np.float64]] = []  # one of each piece, whatever their order

    def begin(self, region: Region) -> None:
        """Another block of the plane follows."""
        self._coverage.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """Add what is new in a slab."""
        first = first_label(self._activation)

        def add(new: tuple[Region, NDArray[np.float32]]) -> None:
            shares = probabilities(new[1], kind=slab.kind, activation=self._activation)
            self._sums.append(shares[first:].sum(axis=(1, 2, 3), dtype=np.float64))

        spread(add, self._coverage.pieces(slab, start))

    def finish(self) -> dict[str, float]:
        """The volumes in mL."""
        totals = [math.fsum(sums) for sums in zip(*self._sums, strict=True)] or [0.0] * len(self._labels)
        return {label.name: total * self._voxel_ml for label, total in zip(self._labels, totals, strict=True)}
