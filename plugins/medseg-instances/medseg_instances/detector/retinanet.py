"""RetinaNet with masks: anchors are told labels at once (T.-Y. Lin et al., 2017; C.-Y. Fu et al., 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor  # noqa: TID253
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot  # noqa: TID253

from medseg.segmentation import LabelTable
from medseg_instances.detector.anchors import UNDECIDED
from medseg_instances.detector.boxes import clipped, decoded, encoded, paired_overlaps
from medseg_instances.detector.matching import OF_OBJECT
from medseg_instances.detector.network import (
    CANDIDATES,
    Candidates,
    DetectorNetwork,
    View,
    box_loss,
    in_space,
)
from medseg_instances.detector.truth import Truth

if TYPE_CHECKING:
    from medseg_instances.detector.segmenter import Detector

__all__ = ["RetinaNet", "focal"]

ALPHA, GAMMA = 0.25, 2.0  # weight of objects, and how little what is easy counts (T.-Y. Lin et al., 2017)
DEPTH = 2  # convolutions before what is told of anchors


def focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of each logit, less of what is easy: `[…]`, summed."""
    each = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    right = torch.exp(-each)
    weight = wanted * ALPHA + (1 - wanted) * (1 - ALPHA)
    return (weight * (1 - right) ** GAMMA * each).sum()


class RetinaNet(DetectorNetwork):
    """Every anchor is told its label and box; masks are made of the features in the boxes that stay."""

    def __init__(self, how: Detector, labels: LabelTable) -> None:
        super().__init__(how, labels, kinds=len(labels), depth=DEPTH)

    def candidates(self, view: View, number: int, least: float) -> Candidates:
        """The surest pairs of anchor and label."""
        scores = view.logits[number].sigmoid().flatten()
        best = scores.topk(min(CANDIDATES, len(scores)))
        sure = best.values >= least
        place, label = best.indices[sure] // len(self.table), best.indices[sure] % len(self.table)
        boxes = clipped(decoded(view.deltas[number, place], view.anchors.boxes[place]), view.shape)
        return boxes, label, best.values[sure]

    def losses(self, view: View, number: int, truth: Truth) -> dict[str, Tensor]:
        """Of anchors: label and box; and masks in the boxes of objects and in those that are told."""
        match = self.matched(view, truth)
        own = torch.nonzero(match >= 0)[:, 0]
        learnt = match != UNDECIDED
        wanted = torch.zeros_like(view.logits[number])
        wanted[own] = one_hot(truth.labels[match[own]], len(self.table)).to(wanted)
        anchors, deltas, of = view.anchors.boxes[own], view.deltas[number, own], truth.boxes[match[own]]
        count = max(1, len(own))
        told = clipped(decoded(deltas.detach(), anchors), view.shape)
        near = paired_overlaps(told, of) >= in_space(OF_OBJECT, self.dims)
        boxes = torch.cat([truth.boxes, told[near]])
        numbers = torch.cat([torch.arange(len(truth.boxes), device=match.device), match[own][near]])
        return {
            "label": focal(view.logits[number, learnt], wanted[learnt]) / count,
            "box": box_loss(deltas, encoded(of, anchors)) / count,
            "mask": self.mask_loss(view, number, truth, boxes, numbers),
        }
