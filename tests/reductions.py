"""A plain function as a network, slid over an image in blocks: what the tests of reductions share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg import Grid, Label, LabelTable, Sink, Volume
from medseg.inference.streaming import stream
from medseg.inference.windows import Windows

Floats = NDArray[np.float32]

TABLE = LabelTable((Label(1, "liver"), Label(4, "spleen")))
GRID = Grid((14, 11, 9), np.array([[2.0, 0, 0, -5], [0, 1.5, 0.3, 7], [0, 0, 3.0, 1], [0, 0, 0, 1]]))
WINDOWS = Windows(GRID.shape, (6, 6, 4))


def image(seed: int = 2) -> Volume:
    array = np.random.default_rng(seed).normal(size=(1, *GRID.shape)).astype(np.float32)
    return Volume(array, GRID)


def pointwise(windows: Floats) -> Floats:
    """Three channels that depend on their own voxel only: any overlap of windows gives the same mean."""
    return np.concatenate([windows, 1.5 * windows - 0.4, np.float32(0.7) - windows], axis=1)


def expected() -> Floats:
    """The scores of the whole image."""
    scores: Floats = pointwise(image().array[None])[0]
    return scores


def slid(*sinks: Sink, blocks: int = 1, forward: Any = pointwise) -> tuple[Any, ...]:
    return stream(image(), WINDOWS, forward, sinks, blocks=blocks, batch=2)
