"""The loss `sum`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medseg.builtin.loss.map_names import numbered
from medseg.segmentation import Segmentation
from medseg.steps import Head, Loss

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Sum"]


class Sum(Loss):
    """Sum of any losses, each times a weight: `sum: {losses: [dice-ce, boundary], weights: [1, 0.01]}`."""

    losses: Annotated[tuple[Loss, ...], Field(min_length=1)]
    """The losses, each a name or a name with parameters; sums may be nested."""

    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """What each loss is multiplied with, in the same order; null for 1 each."""

    @model_validator(mode="after")
    def _a_weight_for_each(self) -> Self:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.losses):
            raise ValueError(f"{len(self.losses)} losses have {len(self.losses)} weights")
        if not any(self.weights):
            raise ValueError("all weights are 0: nothing is left to train on")
        return self

    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        """The maps of all losses; a loss's number goes before its names, so that two of a kind keep apart."""
        maps: dict[str, NDArray[np.float32]] = {}
        for number, loss in enumerate(self.losses):
            maps.update(numbered(number, loss.prepare(segmentation, head, valid)))
        return maps

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of the losses' own; raises PipelineError where one of them does not suit the head."""
        from medseg.builtin.loss.added import Added

        modules = [loss.build(head, spacing=spacing, channels=channels) for loss in self.losses]
        return Added(modules, self.weights or (1.0,) * len(modules))
