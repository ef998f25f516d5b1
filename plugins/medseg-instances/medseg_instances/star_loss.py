"""The loss `star-convex`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from medseg.errors import PipelineError
from medseg.steps import Head, Loss
from medseg_instances.star_convex import StarConvex

if TYPE_CHECKING:
    from torch import nn

__all__ = ["StarConvexLoss"]


class StarConvexLoss(Loss):
    """Dice and cross-entropy of labels, cross-entropy of the depth, and how much too long or short rays are.

    The depth in objects counts as much as that outside of them, however much of the image they fill.
    The deeper a voxel lies in its object, the more do its rays count; outside of objects they do not. Of a
    ray that leaves the patch within its object it is only asked not to be shorter than that.
    """

    depth_weight: float = Field(default=1.0, gt=0)
    """What the depth's term is multiplied with."""

    ray_weight: float = Field(default=0.2, gt=0)
    """What the rays' mean error, in the finest voxel's side, is multiplied with; 0.2 as in StarDist."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; raises PipelineError for a head without rays."""
        from medseg_instances.label_terms import LabelTerms, Terms
        from medseg_instances.star_terms import DepthTerm, RayTerm

        if not isinstance(head, StarConvex):
            raise PipelineError("star-convex is the loss of the head stardist, and suits no other")
        labels = channels - head.field_count
        return Terms(
            LabelTerms(labels), DepthTerm(labels, self.depth_weight), RayTerm(labels, self.ray_weight)
        )
