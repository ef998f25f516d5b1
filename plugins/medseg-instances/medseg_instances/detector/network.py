"""A detector's network: a pyramid and branches on it, what they find in images, and how masks are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor, nn  # noqa: TID253
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss  # noqa: TID253

from medseg.segmentation import LabelTable
from medseg_instances.detector.anchors import Anchors, shapes
from medseg_instances.detector.boxes import kept, real
from medseg_instances.detector.branches import DenseBranch, MaskBranch
from medseg_instances.detector.matching import decided, drawn
from medseg_instances.detector.pyramid import Pyramid
from medseg_instances.detector.roi_align import pooled
from medseg_instances.detector.truth import Truth

if TYPE_CHECKING:
    from medseg_instances.detector.segmenter import Detector

__all__ = [
    "CANDIDATES",
    "Candidates",
    "DetectorNetwork",
    "Found",
    "View",
    "box_loss",
    "in_space",
    "nothing_of",
]

CANDIDATES = 1000  # boxes of an image that are held against each other (S. Ren et al., 2015)
SAMPLES = {2: 2, 3: 1}  # values along each axis of a bin: in space there are many more of them
AT_ONCE = 32  # boxes whose masks are made at once
MOST_MASKS = 32  # boxes of a sample that masks are learnt in
BETA = 1 / 9  # where smooth L1 becomes straight (S. Ren et al., 2015)

Candidates = tuple[Tensor, Tensor, Tensor]
"""Boxes, places of their labels, scores."""


def in_space(overlap: float, dims: int) -> float:
    """The overlap that asks of boxes along each of so many axes what `overlap` asks of those in a picture."""
    return float(overlap ** (dims / 2))


def box_loss(deltas: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1, summed over boxes and their numbers."""
    return smooth_l1_loss(deltas, wanted, beta=BETA, reduction="sum")


def nothing_of(*outputs: Tensor) -> Tensor:
    """Zero with a gradient of zero: where there is nothing to learn, weights are still part of the loss."""
    return torch.stack([each.sum() * 0.0 for each in outputs]).sum()


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in an image, the surest first: `boxes[n, 2 D]`, places of `labels[n]`, `scores[n]`.

    `masks[n, *(cells,) * D]` are probabilities in cells of each box.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class View:
    """What a network sees in images `[N, C, *shape]`: a pyramid, anchors on it, what is said of each."""

    shape: tuple[int, ...]
    levels: list[Tensor] = field(repr=False)
    anchors: Anchors
    logits: Tensor = field(repr=False)
    deltas: Tensor = field(repr=False)


class DetectorNetwork(nn.Module, ABC):
    """What all kinds have in common.

    `dense` tells of every anchor `kinds` logits and a box, `masks` which cells of a box are an object's.
    """

    def __init__(self, how: Detector, labels: LabelTable, *, kinds: int, depth: int) -> None:
        super().__init__()
        self.how, self.table = how, labels
        self.dims = how.dims
        self.sides = shapes(how.anchor_size, how.octave, how.elongations, how.dims)
        self.pyramid = Pyramid(
            how.channels, how.features, how.steps, finest=how.finest, width=how.pyramid, dims=how.dims
        )
        self.dense = DenseBranch(how.pyramid, kinds=kinds, shapes=len(self.sides), depth=depth, dims=how.dims)
        self.masks = MaskBranch(how.pyramid, labels=len(labels), dims=how.dims)

    @abstractmethod
    def losses(self, view: View, number: int, truth: Truth) -> dict[str, Tensor]:
        """The losses of one sample of a batch, by name; it is their sum that becomes small."""

    @abstractmethod
    def candidates(self, view: View, number: int, least: float) -> Candidates:
        """What may be in one image of a batch, with a score of `least`; one object may come often."""

    def view(self, images: Tensor) -> View:
        """What is seen in images `[N, C, *shape]`, whose sides are multiples of the coarsest stride."""
        levels: list[Tensor] = self.pyramid(images)
        logits, deltas = self.dense(levels)
        anchors = Anchors.of(levels, self.how.level_strides, self.sides)
        return View(tuple(images.shape[2:]), levels, anchors, logits, deltas)

    def forward(self, images: Tensor, least: float | None = None) -> list[Found]:
        """What is in each image with a score of `least`; of None, that of the parameters."""
        view = self.view(images)
        score = self.how.score if least is None else least
        return [self._found(view, number, score) for number in range(len(images))]

    def _found(self, view: View, number: int, least: float) -> Found:
        boxes, labels, scores = self.candidates(view, number, least)
        inside = real(boxes)
        boxes, labels, scores = boxes[inside], labels[inside], scores[inside]
        best = scores.argsort(descending=True, stable=True)[:CANDIDATES]
        stay = best[kept(boxes[best], scores[best], in_space(self.how.overlap, self.dims), labels[best])]
        stay = stay[: self.how.most]
        boxes, labels = boxes[stay], labels[stay]
        cells = 2 * self.how.mask_bins
        masks = [boxes.new_zeros((0, *(cells,) * self.dims))]
        for first in range(0, len(boxes), AT_ONCE):
            own = slice(first, first + AT_ONCE)
            masks.append(self._mask_logits(view, number, boxes[own], labels[own]).sigmoid())
        return Found(boxes, labels, scores[stay], torch.cat(masks))

    def _mask_logits(self, view: View, number: int, boxes: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = self.masks(self.pooled(view, number, boxes, self.how.mask_bins), labels)
        return logits

    def pooled(self, view: View, number: int, boxes: Tensor, bins: int) -> Tensor:
        """The features in boxes of one image of a batch."""
        return pooled(
            [level[number : number + 1] for level in view.levels],
            boxes,
            boxes.new_zeros(len(boxes), dtype=torch.long),
            strides=self.how.level_strides,
            size=self.how.anchor_size,
            bins=bins,
            samples=SAMPLES[self.dims],
        )

    # ---- in training

    def loss(self, batch: Mapping[str, Any]) -> Tensor:
        """All losses of a batch: the mean over its samples."""
        view = self.view(batch["image"])
        samples = []
        for number in range(len(batch["image"])):
            truth = Truth.of(batch, number, self.table)
            samples.append(torch.stack(list(self.losses(view, number, truth).values())).sum())
        return torch.stack(samples).mean()

    def matched(self, view: View, truth: Truth) -> Tensor:
        """For each anchor the number of the object that it is of, NOTHING, or UNDECIDED."""
        return decided(view.anchors.matched(truth.boxes), view.anchors.boxes, truth)

    def mask_loss(self, view: View, number: int, truth: Truth, boxes: Tensor, match: Tensor) -> Tensor:
        """Cross-entropy of the masks in boxes, each of the object `match` says; the mean over cells."""
        chosen = drawn(torch.arange(len(boxes), device=boxes.device), MOST_MASKS)
        boxes, match = boxes[chosen], match[chosen]
        if not len(boxes):
            return nothing_of(*self.masks.parameters())
        logits = self._mask_logits(view, number, boxes, truth.labels[match])
        return binary_cross_entropy_with_logits(logits, truth.masks(boxes, match, 2 * self.how.mask_bins))
