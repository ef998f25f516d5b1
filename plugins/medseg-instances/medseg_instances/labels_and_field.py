"""The loss `labels-and-field`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.errors import PipelineError
from medseg.steps import Head, Loss
from medseg_instances.distance_watershed import DistanceWatershed

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LabelsAndField"]


class LabelsAndField(Loss):
    """Dice and cross-entropy of the labels, and the smooth L1 distance of the field within objects.

    Smooth L1 is a square up to 0.1 off and a line beyond. The field counts in the reference's objects only:
    outside it is asked for nothing.
    """

    field_weight: float = Field(default=4.0, gt=0)
    """What the term of the field is multiplied with."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; raises PipelineError for a head without a field."""
        from medseg_instances.label_terms import FieldTerm, LabelTerms, Terms

        if not isinstance(head, DistanceWatershed):
            raise PipelineError("labels-and-field is the loss of the head distance-watershed")
        labels = channels - 1
        return Terms(LabelTerms(labels), FieldTerm(labels, self.field_weight))
