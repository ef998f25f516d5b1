"""A refiner that keeps to its contract, and some that do not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from medseg.prediction import Scores
from medseg.steps import Refiner
from medseg.volume import Volume


class Favour(Refiner):
    """Add to the scores of a channel; notes what it saw."""

    channel: int = 1
    """Which one."""

    by: float = 0.0
    """What is added."""

    look_mm: float = 0.0
    """How far it looks, to no end."""

    labels: tuple[str, ...] = ()
    """Without effect."""

    takes_gb: float = 0.0
    """Memory that it says it takes."""

    def work_bytes(self, scores: Scores, volume: Volume) -> int:
        return int(self.takes_gb * 1e9)

    @property
    def margin_mm(self) -> float:
        return self.look_mm

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        assert volume.grid.same_as(scores.grid)
        assert scores.activation is not None
        array = np.array(scores.array)
        array[self.channel] += self.by
        return Scores(array, scores.grid, scores.kind)


class BadType(Refiner):
    """Return a bare array."""

    def __call__(self, scores: Scores, volume: Volume) -> Any:
        return scores.array


class BadBox(Refiner):
    """Return less than it got."""

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        high = (1, 1, 1)
        return Scores(scores.array[:, :1, :1, :1], scores.grid.cropped((0, 0, 0), high), scores.kind)


class BadNumber(Refiner):
    """Return what is no number."""

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        return Scores(np.full_like(scores.array, np.nan), scores.grid, scores.kind)


class WritesScores(Refiner):
    """Write into the input."""

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        scores.array[:] = 0
        return scores


class RunsOut(Favour):
    """Favour, which no GPU has the memory for."""

    def on(self, device: str) -> Callable[[Scores, Volume], Scores]:
        def work(scores: Scores, volume: Volume) -> Scores:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory")

        return self if device == "cpu" else work


class Differs(Favour):
    """Favour, and more of it where it is asked for by device."""

    def on(self, device: str) -> Callable[[Scores, Volume], Scores]:
        return Favour(by=self.by + 1)
