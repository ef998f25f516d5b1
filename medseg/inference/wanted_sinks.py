"""From what is wanted of a prediction to the sinks that keep it, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from medseg.inference.channel_group import ChannelGroup
from medseg.inference.entropy import ENTROPY_TYPE, EntropySink
from medseg.inference.planning import FLOAT, SinkCost, label_cost
from medseg.inference.probabilities import Activation
from medseg.inference.score_store import ScoreSink, ScoreStore, stored_bytes
from medseg.inference.soft_volume import SoftVolumeSink
from medseg.prediction import Sink, Wanted
from medseg.segmentation import LabelTable
from medseg.volume import Grid, Volume

__all__ = ["Keeping", "Kept"]

SURE = 30.0  # logits: a probability of 1e-13, and still far from the end of half precision


@dataclass(frozen=True)
class Kept:
    """What the sinks made of a volume, by the names of the fields of a Prediction."""

    labels: Any
    members: tuple[Any, ...]
    soft_ml: dict[str, float]
    maps: dict[str, Volume]
    scores: ScoreStore | None


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is kept of a network's scores, of `channels` each, averaged over `members`.

    `apart` says that the forward pass must give the mean and then each member, side by side: scores
    `[N, slab_channels, *patch]` with the mean in the first `channels`. So the labels are, to the bit, those
    of a run that keeps no member. `activation` is the head's; without one, its channels are no labels, and
    what needs probabilities is left out.
    """

    wanted: Wanted
    labels: LabelTable
    activation: Activation | None
    channels: int
    members: int = 1

    @property
    def apart(self) -> bool:
        """Whether members are kept apart; one member is the prediction itself."""
        return self.wanted.members and self.members > 1

    @property
    def slab_channels(self) -> int:
        """How many channels the slab has."""
        return self.channels * (1 + self.members if self.apart else 1)

    @property
    def unserved(self) -> tuple[str, ...]:
        """What is wanted and cannot be given whatever the image, in words."""
        known = {"soft-volume", "entropy"}
        lacking = sorted(self.wanted.reductions - known)
        if self.activation is None:
            lacking += sorted(self.wanted.reductions & known)
        return tuple(f"{name}: the head's channels are no probabilities" for name in lacking)

    @property
    def empty(self) -> tuple[float, ...] | None:
        """Logits of a voxel that no window reached: no label, nearly for certain; None without activation."""
        if self.activation is None:
            return None
        one = (
            (SURE, *[0.0] * (self.channels - 1)) if self.activation == "softmax" else (-SURE,) * self.channels
        )
        return one * (self.slab_channels // self.channels)

    def cost(self, *, grid: Grid, onto: Grid, plane: int, threads: int) -> SinkCost:
        """What all sinks take together in memory.

        `plane` is how many voxels one slice of the slab has, of a block where it is cut; each of the
        `threads` works on a slice of its own.
        """
        label = label_cost(self.labels, channels=self.channels, onto=onto, threads=threads)
        total = sum([label] * (self.members if self.apart else 0), label)
        floats, voxels = threads * FLOAT * self.channels * plane, math.prod(grid.shape)
        if self._soft(grid):
            total += SinkCost(at_work=2 * floats, reads=self.channels * voxels)
        if self._entropy:
            total += SinkCost(
                held=ENTROPY_TYPE.itemsize * voxels, at_work=4 * floats, reads=2 * self.channels * voxels
            )
        if self.wanted.scores:
            total += SinkCost(at_work=3 * floats, reads=self.channels * voxels)
        return total

    def disk_bytes(self, grid: Grid) -> int:
        """What scores that are kept take on disk."""
        return stored_bytes(grid, self.wanted, self._stored) if self.wanted.scores else 0

    def sinks(self, label_sink: Callable[[], Sink], *, grid: Grid, axis: int) -> tuple[Sink, ...]:
        """The sinks, in the order in which `kept` takes their results; reserves room on disk.

        `label_sink` makes a sink that decodes `channels` into labels. Raises ResourceError.
        """
        sinks = [self._mean(label_sink())]
        if self.apart:
            firsts = range(self.channels, self.slab_channels, self.channels)
            sinks += [ChannelGroup(label_sink(), first=first, count=self.channels) for first in firsts]
        if self.activation is not None and self._soft(grid):
            sinks.append(
                self._mean(SoftVolumeSink(self.labels, grid=grid, axis=axis, activation=self.activation))
            )
        if self.activation is not None and self._entropy:
            sinks.append(self._mean(EntropySink(grid=grid, axis=axis, activation=self.activation)))
        if self.wanted.scores:
            store = ScoreSink(
                self.labels,
                grid=grid,
                axis=axis,
                channels=self.channels,
                activation=self.activation,
                wanted=self.wanted,
            )
            sinks.append(self._mean(store))
        return tuple(sinks)

    def kept(self, found: Sequence[Any], *, grid: Grid) -> Kept:
        """What `stream` gave for those sinks, sorted."""
        labels, *rest = found
        members = [rest.pop(0) for _ in range(self.members)] if self.apart else []
        if self.wanted.members and not self.apart:
            members = [labels]
        soft = rest.pop(0) if self._soft(grid) else {}
        maps = {"entropy": rest.pop(0)} if self._entropy else {}
        scores = rest.pop(0) if self.wanted.scores else None
        return Kept(labels, tuple(members), soft, maps, scores)

    def _mean(self, sink: Sink) -> Sink:
        return ChannelGroup(sink, first=0, count=self.channels) if self.apart else sink

    def _soft(self, grid: Grid) -> bool:
        """Whether soft volumes are kept: a picture without a scale has none in mL."""
        return self._reduced("soft-volume") and grid.unit == "mm"

    @property
    def _entropy(self) -> bool:
        return self._reduced("entropy")

    def _reduced(self, name: str) -> bool:
        return name in self.wanted.reductions and self.activation is not None

    @property
    def _stored(self) -> int:
        """Channels in the store."""
        if self.activation is None:
            return self.channels
        names = self.wanted.score_labels
        return sum(names is None or label.name in names for label in self.labels)
