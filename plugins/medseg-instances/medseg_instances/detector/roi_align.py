"""RoIAlign in any number of axes: the features in a box as so many bins along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor  # noqa: TID253
from torch.nn.functional import avg_pool2d, avg_pool3d, grid_sample  # noqa: TID253

from medseg_instances.detector.boxes import sides

__all__ = ["pooled", "roi_align"]


def roi_align(features: Tensor, boxes: Tensor, image: Tensor, *, bins: int, samples: int) -> Tensor:
    """`[R, C, *(bins,) * D]` of features `[N, C, *size]` in boxes `[R, 2 D]`, each in its `image[R]`.

    Boxes are in places of the features, whose first is from 0 to 1. A bin is the mean of `samples` values
    along each axis, evenly spread in it, each linear between the places around (K. He et al., Mask R-CNN,
    ICCV 2017; `aligned=True` in torchvision). Values up to one place beyond the outermost centres are the
    outermost place's, and farther out 0.
    """
    dims = features.ndim - 2
    size = features.new_tensor(features.shape[2:])
    step = (torch.arange(bins * samples, device=boxes.device, dtype=boxes.dtype) + 0.5) / (bins * samples)
    at = boxes[:, :dims, None] + step * sides(boxes)[:, :, None] - 0.5  # [R, D, points]
    inside = ((at >= -1) & (at <= size[:, None])).to(features.dtype)
    at = torch.minimum(at.clamp(min=0), size[:, None] - 1)
    at = (2 * at + 1) / size[:, None] - 1  # grid_sample's own coordinates, over the faces
    mean = avg_pool2d if dims == 2 else avg_pool3d
    found = features.new_zeros((len(boxes), features.shape[1], *(bins,) * dims))
    for number in range(len(features)):
        own = torch.nonzero(image == number)[:, 0]
        if len(own):
            values = _read(features[number], at[own], inside[own])
            found = found.index_copy(0, own, mean(values, samples))
    return found


def _read(features: Tensor, at: Tensor, inside: Tensor) -> Tensor:
    """`[R, C, *points]` of `features[C, *size]` at the lattices of lines `at[R, D, points]`."""
    count, dims, points = at.shape
    lines = [
        at[:, axis].reshape(-1, *(points if a == axis else 1 for a in range(dims))) for axis in range(dims)
    ]
    grid = torch.stack([line.expand(count, *(points,) * dims) for line in reversed(lines)], -1)
    flat = grid.reshape(1, count * points, *(points,) * (dims - 2), points, dims)
    read = grid_sample(features[None], flat, mode="bilinear", padding_mode="border", align_corners=False)
    values = read[0].reshape(len(features), count, *(points,) * dims).transpose(0, 1)
    for axis in range(dims):
        values = values * inside[:, axis].reshape(-1, 1, *(points if a == axis else 1 for a in range(dims)))
    return values


def pooled(  # noqa: PLR0913 - all but the features are named
    levels: Sequence[Tensor],
    boxes: Tensor,
    image: Tensor,
    *,
    strides: Sequence[tuple[int, ...]],
    size: float,
    bins: int,
    samples: int,
) -> Tensor:
    """`roi_align` of boxes in voxels, each on the level whose anchors, of `size` strides, are as large.

    T.-Y. Lin et al., Feature pyramid networks, CVPR 2017. All levels have the same channels.
    """
    dims = boxes.shape[1] // 2
    own_sides = sides(boxes).clamp(min=1e-6).log2().mean(1, keepdim=True)
    of_anchors = boxes.new_tensor(strides).log2().mean(1) + math.log2(size)
    level = (own_sides - of_anchors).abs().argmin(1)
    found = levels[0].new_zeros((len(boxes), levels[0].shape[1], *(bins,) * dims))
    for number, (features, stride) in enumerate(zip(levels, strides, strict=True)):
        own = torch.nonzero(level == number)[:, 0]
        if len(own):
            scaled = boxes[own] / boxes.new_tensor([*stride, *stride])
            part = roi_align(features, scaled.to(features.dtype), image[own], bins=bins, samples=samples)
            found = found.index_copy(0, own, part)
    return found
