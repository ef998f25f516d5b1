"""The head `sigmoid`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.inference.sinks import ThresholdSink
from medseg.prediction import Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head
from medseg.volume import Grid

if TYPE_CHECKING:
    import torch

__all__ = ["Sigmoid"]


class Sigmoid(Head):
    """Labels that may overlap: each channel says for itself whether its label is there.

    Channels are the labels in order of value; a logit above 0, that is a probability above 0.5, is a yes.
    Give labels that overlap different layers in `labels:`; of labels in one layer, the most likely wins.
    """

    activation: ClassVar[Literal["softmax", "sigmoid"] | None] = "sigmoid"

    def channels(self, labels: LabelTable) -> int:
        """One for each label."""
        return len(labels)

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """1 where a label is, in its channel."""
        target = np.empty((len(segmentation.labels), *segmentation.grid.shape), np.float32)
        for channel, label in enumerate(segmentation.labels):
            target[channel] = segmentation.mask(label.name)
        return target

    def targets(
        self,
        labels: torch.Tensor,
        table: LabelTable,
        *,
        spacing: tuple[float, ...],
        objects: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As `target`, in one comparison."""
        import torch

        values = torch.tensor([label.value for label in table], device=labels.device, dtype=labels.dtype)
        layers = labels[:, [label.layer for label in table]]
        return (layers == values.reshape(1, -1, *[1] * (labels.ndim - 2))).float()

    def deciding(self, labels: LabelTable, wanted: Collection[str]) -> LabelTable:
        """Those that share a layer with a wanted one: of these the most likely wins."""
        layers = {label.layer for label in labels if label.name in wanted}
        return labels.only([label.name for label in labels if label.layer in layers])

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        """A threshold on the native grid, a layer for labels that overlap."""
        return ThresholdSink(labels, grid=grid, axis=axis, onto=onto)
