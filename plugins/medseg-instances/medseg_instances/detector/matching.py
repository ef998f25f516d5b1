"""Which object a box is of, and which boxes are learnt from."""

from __future__ import annotations

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor  # noqa: TID253

from medseg_instances.detector.anchors import NOTHING, UNDECIDED
from medseg_instances.detector.boxes import overlaps
from medseg_instances.detector.truth import Truth

__all__ = ["OF_OBJECT", "balanced", "decided", "drawn", "proposals_matched"]

OF_OBJECT = 0.5  # overlap with an object in a picture from which on a box is of it (R. Girshick, ICCV 2015)


def proposals_matched(boxes: Tensor, objects: Tensor, least: float) -> Tensor:
    """For each box the number of the object that it overlaps most, by `least` at least; else NOTHING."""
    if not len(objects):
        return boxes.new_full((len(boxes),), NOTHING, dtype=torch.long)
    most = overlaps(boxes, objects).max(1)
    return torch.where(most.values >= least, most.indices, NOTHING)


def decided(match: Tensor, boxes: Tensor, truth: Truth) -> Tensor:
    """The match, but UNDECIDED where a box would be background, and something in it is not known."""
    return torch.where((match == NOTHING) & truth.hides(boxes), UNDECIDED, match)


def drawn(places: Tensor, count: int) -> Tensor:
    """So many of the places, at random; all where there are fewer."""
    return places[torch.randperm(len(places), device=places.device)[:count]]


def balanced(match: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """Which to learn from: of objects as many as `share` of `count` at most, of background what is left."""
    own = drawn(torch.nonzero(match >= 0)[:, 0], round(count * share))
    return own, drawn(torch.nonzero(match == NOTHING)[:, 0], count - len(own))
