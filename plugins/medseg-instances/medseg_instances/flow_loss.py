"""The loss `flow`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.errors import PipelineError
from medseg.steps import Head, Loss
from medseg_instances.flows import AXES, Flows

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FlowLoss"]


class FlowLoss(Loss):
    """Dice and cross-entropy of the labels, and the squared distance of flows within objects, for `flows`.

    Flows count in the reference's objects only, and in pictures along i and j only.
    """

    flow_weight: float = Field(default=5.0, gt=0)
    """What the term of the flows is multiplied with."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; raises PipelineError for another head."""
        from medseg_instances.flow_term import FlowTerm
        from medseg_instances.label_terms import LabelTerms, Terms

        if not isinstance(head, Flows):
            raise PipelineError("flow is the loss of the head flows, and suits no other")
        labels = channels - AXES
        return Terms(LabelTerms(labels), FlowTerm(labels, self.flow_weight))
