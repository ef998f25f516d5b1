"""What turns slabs of scores into labels on the native grid, without ever holding the scores.

Scores are interpolated, then decided: interpolating decisions would give stairs where the model's voxels are
larger than the image's. Voxels outside the model's grid become background.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import PluginError
from medseg.inference.placement import Piece, Placement
from medseg.inference.threads import spread
from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid

__all__ = ["ArgmaxSink", "ThresholdSink"]


class _Painting(Sink):
    """A label array on the native grid that fills up as slabs come."""

    def __init__(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> None:
        self._labels = labels
        self._placement = Placement(grid, axis=axis, onto=onto)
        self.halo = self._placement.halo
        highest = max((label.value for label in labels), default=0)
        self._array = np.zeros((labels.layers, *onto.shape), np.min_scalar_type(highest))
        self._layers = [self._placement.view(layer) for layer in self._array]

    def begin(self, region: Region) -> None:
        """Expect the slabs of a block next."""
        self._placement.begin(region)

    def _expect(self, slab: Scores, channels: int) -> None:
        if slab.array.shape[0] != channels:
            raise PluginError(
                f"the network gives {slab.array.shape[0]} channels, and these labels are {channels}"
            )

    def finish(self) -> Segmentation:
        """The labels on the native grid."""
        return Segmentation(self._array, self._placement.onto, self._labels)


class ArgmaxSink(_Painting):
    """Labels that exclude each other: each voxel gets the channel with the highest score.

    Channel 0 is the background, the others are the labels in order of value, all in one layer. The first of
    equal scores wins.
    """

    def take(self, slab: Scores, start: int) -> None:
        """Decide the native voxels that can be decided now."""
        self._expect(slab, 1 + len(self._labels))
        (layer,) = self._layers

        values = ((0, 0), *((channel, label.value) for channel, label in enumerate(self._labels, 1)))

        def decide(piece: Piece) -> None:
            layer[piece.where] = _winner(piece, values, above=-np.inf, dtype=layer.dtype)

        spread(decide, self._placement.pieces(slab.array, start))


class ThresholdSink(_Painting):
    """Labels that may overlap: a voxel has every label that is more likely than not.

    Channels are the labels in order of value. A logit above 0, or a probability above 0.5, is a yes. Labels
    that overlap lie in different layers; of labels that share a layer, the most likely wins.
    """

    def take(self, slab: Scores, start: int) -> None:
        """Decide the native voxels that can be decided now."""
        self._expect(slab, len(self._labels))
        threshold = 0.0 if slab.kind == "logits" else 0.5
        numbered = tuple(enumerate(self._labels))

        def decide(piece: Piece) -> None:
            for number, layer in enumerate(self._layers):
                values = ((channel, label.value) for channel, label in numbered if label.layer == number)
                layer[piece.where] = _winner(piece, values, above=threshold, dtype=layer.dtype)

        spread(decide, self._placement.pieces(slab.array, start))


def _winner(
    piece: Piece, values: Iterable[tuple[int, int]], *, above: float, dtype: np.dtype[Any]
) -> NDArray[Any] | int:
    """The value of the channel with the highest score, the first of equals; 0 where none is above a bound.

    `values` are channels with their labels' values, which grow: of the channels that were the highest so far
    the last one has the largest value.
    """
    winner: NDArray[Any] | None = None
    best = np.empty(0, np.float32)
    for channel, value in values:
        score = piece.scores(channel)
        if winner is None:
            winner, best = np.zeros_like(score, dtype), np.full_like(score, above)
        higher = (score > best).view(np.uint8)
        np.maximum(winner, higher * dtype.type(value), out=winner)
        np.maximum(best, score, out=best)
    return 0 if winner is None else winner
