"""Mask R-CNN: regions are proposed first, then told apart (K. He et al., 2017; P. Jaeger et al., 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor  # noqa: TID253
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy  # noqa: TID253

from medseg.segmentation import LabelTable
from medseg_instances.detector.boxes import clipped, decoded, encoded, kept, real
from medseg_instances.detector.branches import BINS, BoxBranch
from medseg_instances.detector.matching import OF_OBJECT, balanced, decided, proposals_matched
from medseg_instances.detector.network import (
    Candidates,
    DetectorNetwork,
    View,
    box_loss,
    in_space,
    nothing_of,
)
from medseg_instances.detector.truth import Truth

if TYPE_CHECKING:
    from medseg_instances.detector.segmenter import Detector

__all__ = ["MaskRcnn"]

ANCHORS, ANCHORS_OF_OBJECTS = 256, 0.5  # of a sample that proposals are learnt from (S. Ren et al., 2015)
REGIONS_OF_OBJECTS = 0.25
# boxes for each proposal that is left: anchors at the four nearest places of a level are of an object
CROWD = 4
SAME_REGION = 0.7  # overlap of proposals of which one is enough
WEIGHT = (10.0, 5.0)  # of the second stage's deltas, which are small


class MaskRcnn(DetectorNetwork):
    """Every anchor is told whether it is of an object; the best are proposals, whose features are pooled."""

    def __init__(self, how: Detector, labels: LabelTable) -> None:
        super().__init__(how, labels, kinds=1, depth=1)
        self.regions = BoxBranch(how.pyramid, labels=len(labels), dims=how.dims)

    def proposals(self, view: View, number: int) -> Tensor:
        """The regions `[n, 2 D]` of one image that are looked at again, the most promising first."""
        scores = view.logits[number, :, 0].detach()
        best = scores.topk(min(CROWD * self.how.proposals, len(scores))).indices
        boxes = clipped(decoded(view.deltas[number, best].detach(), view.anchors.boxes[best]), view.shape)
        inside = real(boxes)
        boxes, scores = boxes[inside], scores[best][inside]
        return boxes[kept(boxes, scores, in_space(SAME_REGION, self.dims))[: self.how.proposals]]

    def candidates(self, view: View, number: int, least: float) -> Candidates:
        """A proposal as each of the labels that it may be of."""
        regions = self.proposals(view, number)
        logits, deltas = self.regions(self.pooled(view, number, regions, BINS))
        boxes = clipped(decoded(deltas, regions, WEIGHT), view.shape)
        scores = logits.softmax(1)[:, 1:]
        place, label = torch.nonzero(scores >= least, as_tuple=True)
        return boxes[place], label, scores[place, label]

    def losses(self, view: View, number: int, truth: Truth) -> dict[str, Tensor]:
        """Of anchors: object or not, and box; of proposals: label, box, and mask."""
        own, rest = balanced(match := self.matched(view, truth), ANCHORS, ANCHORS_OF_OBJECTS)
        logits = view.logits[number, torch.cat([own, rest]), 0]
        wanted = torch.cat([torch.ones_like(own), torch.zeros_like(rest)]).to(logits)
        boxes = encoded(truth.boxes[match[own]], view.anchors.boxes[own])
        count = max(1, len(wanted))
        return {
            "object": binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / count,
            "anchor": box_loss(view.deltas[number, own], boxes) / count,
            **self.region_losses(view, number, truth, self.proposals(view, number)),
        }

    def region_losses(self, view: View, number: int, truth: Truth, proposals: Tensor) -> dict[str, Tensor]:
        """Those of proposals, to which the objects' own boxes are added."""
        regions = torch.cat([truth.boxes, proposals])
        match = proposals_matched(regions, truth.boxes, in_space(OF_OBJECT, self.dims))
        match = decided(match, regions, truth)
        own, rest = balanced(match, self.how.samples, REGIONS_OF_OBJECTS)
        chosen = torch.cat([own, rest])
        if not len(chosen):
            return {"label": nothing_of(*self.regions.parameters(), *self.masks.parameters())}
        logits, deltas = self.regions(self.pooled(view, number, regions[chosen], BINS))
        label = torch.cat([1 + truth.labels[match[own]], torch.zeros_like(rest)])
        boxes = encoded(truth.boxes[match[own]], regions[own], WEIGHT)
        return {
            "label": cross_entropy(logits, label),
            "box": box_loss(deltas[: len(own)], boxes) / len(chosen),
            "mask": self.mask_loss(view, number, truth, regions[own], match[own]),
        }
