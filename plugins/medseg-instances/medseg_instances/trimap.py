"""The loss `trimap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg.errors import PipelineError
from medseg.steps import Head, Loss
from medseg_instances.border_core import BorderCore

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Trimap"]


class Trimap(Loss):
    """Dice and cross-entropy of the channels of `border-core`: background, cores and borders."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; raises PipelineError for another head."""
        from medseg_instances.label_terms import LabelTerms

        if not isinstance(head, BorderCore):
            raise PipelineError("trimap is the loss of the head border-core, and suits no other")
        return LabelTerms(channels)
