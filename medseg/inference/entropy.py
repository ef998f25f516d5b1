"""How unsure the network is, voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.inference.coverage import Coverage
from medseg.inference.probabilities import Activation, entropy
from medseg.inference.threads import spread
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink
from medseg.volume import Grid, Volume

__all__ = ["ENTROPY_TYPE", "EntropySink"]

ENTROPY_TYPE = np.dtype(np.float16)  # off by at most 0.002 nats below 8, which 2900 labels reach


class EntropySink(Sink):
    """Shannon entropy of the probabilities in nats, as an image on the model grid in half precision."""

    def __init__(self, *, grid: Grid, axis: int, activation: Activation) -> None:
        self._grid = grid
        self._activation = activation
        self._coverage = Coverage(grid, axis)
        self._map = np.zeros(grid.shape, ENTROPY_TYPE)

    def begin(self, region: Region) -> None:
        """Another block of the plane follows."""
        self._coverage.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """Fill in what is new in a slab."""

        def fill(new: tuple[Region, NDArray[np.float32]]) -> None:
            where, plane = new
            self._map[where] = entropy(plane, kind=slab.kind, activation=self._activation)

        spread(fill, self._coverage.pieces(slab, start))

    def finish(self) -> Volume:
        """The map."""
        return Volume(self._map[None], self._grid, ("entropy",))
