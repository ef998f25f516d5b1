"""The loss `discriminative`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.errors import PipelineError
from medseg.steps import Head, Loss
from medseg_instances.embedding import Embedding

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Discriminative"]


class Discriminative(Loss):
    """Dice and cross-entropy of the labels; points of an object pulled together, of two pushed apart.

    De Brabandere et al. (arXiv:1708.02551): points count from `pull` off their object's mean on, with the
    square of what they are further; two means of a patch from `2 * push` on, with the square of what they are
    closer. It is 0 where all that holds. A mean over the objects of a patch, so that small ones count as
    large ones. Objects far from each other are apart by their places, so that only neighbours are pushed; and
    there is no pull to the origin.
    """

    pull: float = Field(default=0.5, ge=0)
    """How far a point may be from the mean of its object, in the embedding's units."""

    push: float = Field(default=1.5, gt=0)
    """Half of how far the means of two objects must be apart, in the embedding's units."""

    embedding_weight: float = Field(default=0.1, gt=0)
    """What the terms of the points are multiplied with."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; raises PipelineError for another head."""
        from medseg_instances.cluster_term import ClusterTerm
        from medseg_instances.label_terms import LabelTerms, Terms

        if not isinstance(head, Embedding):
            raise PipelineError("discriminative is the loss of the head embedding, and suits no other")
        labels = channels - head.dimensions
        clusters = ClusterTerm(
            labels, pull=self.pull, push=self.push, unit=head.unit, weight=self.embedding_weight
        )
        return Terms(LabelTerms(labels), clusters)
