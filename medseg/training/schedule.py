"""How far a training is, how fast it learns there, and when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from medseg.config import TrainingSpec

__all__ = ["Budget", "Pace", "Span", "pace", "rate"]

Span = tuple[float, float]
"""Progress, from 0 to 1, at the start and at the end of an epoch."""

WARM = 0.1  # of a training, for the rate to rise in at most
POLY = 0.9  # nnU-Net's exponent (Nature Methods 18, 2021, 203-211)


class Pace(NamedTuple):
    """How fast weights move: the highest rate, how they decay, and how the rate falls."""

    rate: float
    weight_decay: float
    schedule: Literal["poly", "cosine"]


USUAL = {"adamw": Pace(2e-3, 1e-2, "cosine"), "sgd": Pace(1e-2, 3e-5, "poly")}  # SGD's are nnU-Net's


def pace(spec: TrainingSpec) -> Pace:
    """What the `training:` block says, and what is usual with its optimiser where it says nothing."""
    usual = USUAL[spec.optimiser]
    return Pace(
        usual.rate if spec.rate is None else spec.rate,
        usual.weight_decay if spec.weight_decay is None else spec.weight_decay,
        spec.schedule or usual.schedule,
    )


def rate(spec: TrainingSpec, *, step: int, progress: float) -> float:
    """The learning rate of a step: it falls to 0 as progress comes to 1.

    At first it rises for `warm_up` steps, or for a tenth of the training where that is shorter.
    """
    found, left = pace(spec), max(0.0, 1.0 - progress)
    fallen = left**POLY if found.schedule == "poly" else 0.5 * (1.0 - math.cos(math.pi * left))
    risen = min(1.0, max((step + 1) / spec.warm_up, progress / WARM)) if spec.warm_up else 1.0
    return found.rate * fallen * risen


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of epochs, seconds of wall time, or what of both comes first."""

    epochs: int | None = None
    seconds: float | None = None

    def span(self, *, epoch: int, elapsed: float) -> Span | None:
        """The progress over epoch number `epoch`, counted from 0, after `elapsed` seconds of those before it.

        None where the training is over. With a budget in seconds, as many more epochs are expected to fit as
        fit at the pace so far; the last of them ends at 1. How long an epoch takes is not known before the
        first: that one is at 0 throughout.
        """
        by_count = self._by_count(epoch)
        by_time = self._by_time(epoch, elapsed)
        if by_count is None or by_time is None:
            return None
        return max(by_count[0], by_time[0]), max(by_count[1], by_time[1])

    def _by_count(self, epoch: int) -> Span | None:
        if self.epochs is None:
            return 0.0, 0.0
        return (epoch / self.epochs, (epoch + 1) / self.epochs) if epoch < self.epochs else None

    def _by_time(self, epoch: int, elapsed: float) -> Span | None:
        if self.seconds is None or epoch == 0:
            return 0.0, 0.0
        left = self.seconds - elapsed
        more = math.ceil(left * epoch / max(elapsed, 1e-9) - 0.5)  # round() makes 2 of 1.5, 0 of 0.5
        if more < 1:
            return None
        start = elapsed / self.seconds
        return start, start + (1.0 - start) / more
