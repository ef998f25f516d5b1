"""The loss `labels-and-field`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.errors import PipelineError
from medseg.segmentation import Segmentation
from medseg.steps import Head, Loss
from medseg_instances.distance_watershed import DistanceWatershed

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LabelsAndField"]


class LabelsAndField(Loss):
    """Dice and cross-entropy of the labels, and the smooth L1 distance of the depth within objects.

    Smooth L1 is a square up to 0.1 off and a line beyond. The depth counts in the reference's objects only:
    outside it is asked for nothing. It is that of the whole object, also where a patch shows a part of it;
    objects that reach what is not known are not asked for it, as nothing says where they end.
    """

    field_weight: float = Field(default=4.0, gt=0)
    """What the term of the field is multiplied with."""

    gap_weight: float = Field(default=0.0, ge=0, le=100)
    """How much more voxels count where two objects meet than where no two are near, in the cross-entropy and
    in the field: more where objects that touch come out as one."""

    gap_width: float = Field(default=4.0, ge=1, le=64)
    """How that falls with the sum of a voxel's distances to two objects: as a Gaussian of this standard
    deviation, in the network's finest voxels. Objects are not near across slices that are thicker than
    three times that."""

    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        """The depth as a part of the object's largest, -1 where it cannot be said; how near objects are."""
        if not isinstance(head, DistanceWatershed):
            return {}
        objects = head.objects(segmentation)
        depth = objects.relative_depth()
        if valid is not None:
            depth = np.where(objects.reaching(~valid), np.float32(-1), depth)
        maps = {"depth": depth[None]}
        if self.gap_weight:
            maps["closeness"] = objects.closeness(self.gap_width, valid)[None]
        return maps

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; raises PipelineError for a head without a field."""
        from medseg_instances.label_terms import FieldTerm, LabelTerms, Terms

        if not isinstance(head, DistanceWatershed):
            raise PipelineError("labels-and-field is the loss of the head distance-watershed")
        labels = channels - 1
        return Terms(
            LabelTerms(labels, self.gap_weight),
            FieldTerm(labels, self.field_weight, "depth", self.gap_weight),
        )
