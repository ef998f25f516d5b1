"""The head `softmax`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import PipelineError
from medseg.inference.sinks import ArgmaxSink
from medseg.prediction import Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head
from medseg.volume import Grid

if TYPE_CHECKING:
    import torch

__all__ = ["Softmax"]


class Softmax(Head):
    """Labels that exclude each other: the channel with the highest logit wins.

    Channel 0 is the background, the others are the labels in order of value. Logits are interpolated linearly
    onto the native grid before they are compared.
    """

    activation: ClassVar[Literal["softmax", "sigmoid"] | None] = "softmax"

    def channels(self, labels: LabelTable) -> int:
        """One for each label and one for the background; refuses labels that may overlap."""
        apart = next((label for label in labels if label.layer > 0), None)
        if apart is not None:
            raise PipelineError(
                f"softmax gives one label a voxel, and {apart.name!r} is in layer {apart.layer}; "
                "use the head sigmoid for labels that overlap, or leave layer: out"
            )
        return 1 + len(labels)

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """1 in the channel of each voxel's label, 0 in the others."""
        target = np.zeros((self.channels(segmentation.labels), *segmentation.grid.shape), np.float32)
        for channel, label in enumerate(segmentation.labels, 1):
            target[channel] = segmentation.mask(label.name)
        target[0] = 1 - target[1:].sum(0)
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

        values = torch.tensor(
            [0, *(label.value for label in table)], device=labels.device, dtype=labels.dtype
        )
        shape = (1, -1, *[1] * (labels.ndim - 2))
        return (labels[:, :1] == values.reshape(shape)).float()

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        """Arg-max on the native grid."""
        return ArgmaxSink(labels, grid=grid, axis=axis, onto=onto)
