"""What turns slabs of scores into labels on the native grid, without ever holding the scores.

Scores are interpolated, then decided: interpolating decisions would give stairs where the model's voxels are
larger than the image's. Voxels outside the model's grid become background.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import PluginError
from medseg.inference.placement import Piece, Placement
from medseg.inference.threads import spread
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid

__all__ = ["ArgmaxSink", "LabelSink", "Rule", "ThresholdSink"]


class Rule(NamedTuple):
    """How a layer's voxels are decided: the value of the channel with the highest score, the first of equals.

    `values` are channels with their labels' values, which grow; 0 where no score is above the bound.
    """

    values: tuple[tuple[int, int], ...]
    above: float


class LabelSink(Sink):
    """A label array on the native grid that fills up as slabs come; a subclass says how voxels are decided.

    `array` is `[L, i, j, k]`, of the smallest unsigned type that holds all labels.
    """

    def __init__(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> None:
        self.labels = labels
        self.placement = Placement(grid, axis=axis, onto=onto)
        self.halo = self.placement.halo
        highest = max((label.value for label in labels), default=0)
        self.array = np.zeros((labels.layers, *onto.shape), np.min_scalar_type(highest))

    @property
    @abstractmethod
    def channels(self) -> int:
        """How many channels a slab must have."""

    @abstractmethod
    def rules(self, kind: str) -> Iterator[Rule]:
        """The rule of each layer for scores that are "logits" or "probabilities"."""

    def begin(self, region: Region) -> None:
        """Expect the slabs of a block next."""
        self.placement.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """Decide the native voxels that can be decided now."""
        self.expect(slab.array.shape[0])
        rules = tuple(self.rules(slab.kind))
        layers = [self.placement.view(layer) for layer in self.array]

        def decide(piece: Piece) -> None:
            for layer, rule in zip(layers, rules, strict=True):
                layer[piece.where] = _winner(piece, rule, layer.dtype)

        spread(decide, self.placement.pieces(slab.array, start))

    def expect(self, channels: int) -> None:
        """Refuse a slab that has another number of channels."""
        if channels != self.channels:
            raise PluginError(f"the network gives {channels} channels, and these labels are {self.channels}")

    def finish(self) -> Segmentation:
        """The labels on the native grid."""
        return Segmentation(self.array, self.placement.onto, self.labels)


class ArgmaxSink(LabelSink):
    """Labels that exclude each other: each voxel gets the channel with the highest score.

    Channel 0 is the background, the others are the labels in order of value, all in one layer. The first of
    equal scores wins.
    """

    @property
    def channels(self) -> int:
        """The background and the labels."""
        return 1 + len(self.labels)

    def rules(self, kind: str) -> Iterator[Rule]:
        """The highest of all."""
        values = enumerate((0, *(label.value for label in self.labels)))
        yield Rule(tuple(values), -np.inf)


class ThresholdSink(LabelSink):
    """Labels that may overlap: a voxel has every label that is more likely than not.

    Channels are the labels in order of value. A logit above 0, or a probability above 0.5, is a yes. Labels
    that overlap lie in different layers; of labels that share a layer, the most likely wins.
    """

    @property
    def channels(self) -> int:
        """The labels."""
        return len(self.labels)

    def rules(self, kind: str) -> Iterator[Rule]:
        """In each layer the highest of its labels, if it is a yes."""
        for layer in range(self.labels.layers):
            values = (
                (channel, label.value) for channel, label in enumerate(self.labels) if label.layer == layer
            )
            yield Rule(tuple(values), 0.0 if kind == "logits" else 0.5)


def _winner(piece: Piece, rule: Rule, dtype: np.dtype[Any]) -> NDArray[Any] | int:
    """The labels of some voxels by a rule: of the channels that were the highest so far, the last one's."""
    winner: NDArray[Any] | None = None
    best = np.empty(0, np.float32)
    for channel, value in rule.values:
        score = piece.scores(channel)
        if winner is None:
            winner, best = np.zeros_like(score, dtype), np.full_like(score, rule.above)
        higher = (score > best).view(np.uint8)
        np.maximum(winner, higher * dtype.type(value), out=winner)
        np.maximum(best, score, out=best)
    return 0 if winner is None else winner
