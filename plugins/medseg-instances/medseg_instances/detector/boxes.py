"""Boxes `[..., 2 D]`: the low corner, then the high one, in voxels; voxel n reaches from n to n + 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch  # noqa: TID253 - imported where a detector is built
from numpy.typing import NDArray
from torch import Tensor  # noqa: TID253

__all__ = ["clipped", "decoded", "encoded", "kept", "overlaps", "paired_overlaps", "real", "sides"]

LEAST_SIDE = 1e-3  # of a box that is one, in voxels
MOST_LOG = math.log(1000 / 16)  # of a side to that of its anchor, as in Detectron: else exp overflows


def sides(boxes: Tensor) -> Tensor:
    """Lengths `[..., D]`."""
    dims = boxes.shape[-1] // 2
    return boxes[..., dims:] - boxes[..., :dims]


def real(boxes: Tensor) -> Tensor:
    """Which boxes hold something: of one that lies outside the image, nothing is left in it."""
    return (sides(boxes) > LEAST_SIDE).all(-1)


def paired_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes, one by one; shapes are broadcast. 0 where both are empty."""
    dims = first.shape[-1] // 2
    both, size, its = first.new_ones(()), first.new_ones(()), first.new_ones(())
    for low, high in ((axis, axis + dims) for axis in range(dims)):  # quicker than all axes at once
        start = torch.maximum(first[..., low], second[..., low])
        both = both * (torch.minimum(first[..., high], second[..., high]) - start).clamp(min=0)
        size, its = size * (first[..., high] - first[..., low]), its * (second[..., high] - second[..., low])
    either = size + its - both
    return torch.where(either > 0, both / either.clamp(min=torch.finfo(either.dtype).tiny), 0)


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union `[N, M]` of each of N boxes with each of M."""
    return paired_overlaps(first[:, None], second[None])


def clipped(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """What of boxes lies in an image of this shape."""
    most = boxes.new_tensor([*shape, *shape])
    return torch.minimum(boxes.clamp(min=0), most)


def encoded(boxes: Tensor, anchors: Tensor, weight: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """How boxes differ from their anchors: centres by the anchors' sides, and logarithms of sides.

    R. Girshick et al., CVPR 2014. `weight` multiplies both, so that they vary about as much as 1.
    """
    dims = boxes.shape[-1] // 2
    size, its = sides(boxes), sides(anchors)
    moved = (boxes[..., :dims] + size / 2 - anchors[..., :dims] - its / 2) / its
    return torch.cat([moved * weight[0], (size / its).log() * weight[1]], -1)


def decoded(deltas: Tensor, anchors: Tensor, weight: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """The boxes that `encoded` tells of."""
    dims = anchors.shape[-1] // 2
    its = sides(anchors)
    centre = anchors[..., :dims] + its / 2 + deltas[..., :dims] / weight[0] * its
    half = (deltas[..., dims:] / weight[1]).clamp(max=MOST_LOG).exp() * its / 2
    return torch.cat([centre - half, centre + half], -1)


def kept(boxes: Tensor, scores: Tensor, most_overlap: float, kinds: Tensor | None = None) -> Tensor:
    """Non-maximum suppression: the places of boxes that stay, the highest score first.

    From the highest score on, of equal ones the first, a box stays unless it overlaps one that stays by more
    than `most_overlap`, as intersection over union. With `kinds`, only boxes of one kind suppress each other.
    """
    order = scores.argsort(descending=True, stable=True)
    near = overlaps(boxes[order], boxes[order]) > most_overlap
    if kinds is not None:
        near &= kinds[order][:, None] == kinds[order][None]
    beats: NDArray[np.bool_] = near.cpu().numpy()
    out = np.zeros(len(beats), np.bool_)
    for place, row in enumerate(beats):
        if not out[place]:
            out[place + 1 :] |= row[place + 1 :]
    return order[torch.from_numpy(~out).to(order.device)]
