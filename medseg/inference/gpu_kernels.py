"""The two loops over all channels that a GPU needs compiled, in Triton, which comes with PyTorch for GPUs.

Both do, in single precision and without fused multiply-add, what `slab` and `placement` do on a processor,
in the same order: of the same logits, scores and labels are the same to the last bit. Written as plain tensor
operations each would go through the scores about ten times.

Triton would compile a kernel anew for numbers that are 1 or multiples of 16; here it is told not to, so that
what is compiled when a model is opened serves all images. It keeps what it compiled in ~/.triton.
"""
# mypy: ignore-errors
# ruff: noqa: N803, PLR0913, PLR0917
# A kernel's arguments are numbers and pointers; upper-case ones are known when it is compiled.

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import triton
import triton.language as tl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["decide", "move_mean"]

# Voxels that one program does. Triton's interpreter, which runs kernels without a GPU, goes through programs
# one by one and is quicker with few.
BLOCK = 256 if os.environ.get("TRITON_INTERPRET", "0") != "1" else 1 << 15

MOST_VOXELS = 1 << 30  # of a box that is decided at once: a kernel counts them in 32 bits


def move_mean(mean: torch.Tensor, scores: torch.Tensor, share: torch.Tensor, broken: torch.Tensor) -> None:
    """Do mean += (scores - mean) * share, in place.

    `mean` and `scores` are `[K, i, j, k]` and may be parts of larger tensors, `scores` of any floating type;
    `share` is `[i, j, k]`. `broken`, one whole number, becomes 1 where a score is not finite.
    """
    channels, _, rows, columns = scores.shape
    voxels = share.numel()
    if not voxels:
        return
    _move_mean[triton.cdiv(voxels, BLOCK), channels](
        mean, scores, share, broken, voxels, rows, columns,
        *mean.stride(), *scores.stride(), *share.stride(),
        BLOCK=BLOCK, enable_fp_fusion=False,
    )  # fmt: skip


@triton.jit(
    do_not_specialize=[
        "voxels", "rows", "columns", "mean_c", "mean_i", "mean_j", "mean_k",
        "score_c", "score_i", "score_j", "score_k", "share_i", "share_j", "share_k",
    ],
    do_not_specialize_on_alignment=["mean", "scores", "share"],
)  # fmt: skip
def _move_mean(
    mean, scores, share, broken, voxels, rows, columns,
    mean_c, mean_i, mean_j, mean_k, score_c, score_i, score_j, score_k, share_i, share_j, share_k,
    BLOCK: tl.constexpr,
):  # fmt: skip
    voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = voxel < voxels
    channel = tl.program_id(1).to(tl.int64)
    k, rest = voxel % columns, voxel // columns
    j, i = rest % rows, rest // rows
    here = mean + channel * mean_c + (i * mean_i + j * mean_j + k * mean_k)
    score = tl.load(
        scores + channel * score_c + (i * score_i + j * score_j + k * score_k), mask=inside, other=0.0
    ).to(tl.float32)
    weight = tl.load(share + (i * share_i + j * share_j + k * share_k), mask=inside, other=0.0)
    known = tl.load(here, mask=inside, other=0.0)
    tl.store(here, known + (score - known) * weight, mask=inside)
    wrong = inside & ~(tl.abs(score) < float("inf"))  # what is not a number is not smaller either
    tl.store(broken + tl.zeros_like(voxel), 1, mask=wrong)


def decide(
    scores: torch.Tensor,
    lines: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    corner: Sequence[int],
    rule: tuple[torch.Tensor, torch.Tensor, float],
    *,
    into: tuple[torch.Tensor, int, Sequence[int]],
) -> None:
    """Interpolate scores linearly and write, for each voxel of a box, the value of the best channel.

    Args:
        scores: `[K, i, j, k]`, which may be a part of a larger tensor, with its three axes in the order in
            which they are to be interpolated.
        lines: for each of these axes, what `placement.Spots` holds for the box: lower and higher slice of the
            model grid as 32-bit numbers, and the share of the higher one.
        corner: the slice of the model grid at index 0 of `scores`, for each axis.
        rule: channels and values of a `sinks.Rule` as 32-bit numbers, and the bound.
        into: labels in one stretch of memory, the element of the box's first voxel, and the number of
            elements from one voxel to the next along each axis, negative where it runs the other way.
    """
    channels, values, above = rule
    labels, first, steps = into
    (low_a, high_a, share_a), (low_b, high_b, share_b), (low_c, high_c, share_c) = lines
    voxels = len(low_a) * len(low_b) * len(low_c)
    if not voxels:
        return
    if voxels > MOST_VOXELS and len(low_a) > 1:
        for part in (slice(0, len(low_a) // 2), slice(len(low_a) // 2, None)):
            near = tuple(each[part] for each in lines[0])
            begin = first + (part.start * steps[0])
            decide(scores, [near, *lines[1:]], corner, rule, into=(labels, begin, steps))
        return
    step_channel, *step = scores.stride()
    fastest = min(range(3), key=lambda axis: step[axis])  # neighbours in memory for neighbouring threads
    _decide[(triton.cdiv(voxels, BLOCK),)](
        labels, first, *steps, scores, step_channel, *step, *corner,
        low_a, high_a, share_a, low_b, high_b, share_b, low_c, high_c, share_c,
        len(low_a), len(low_b), len(low_c), voxels, channels, values, len(channels), above,
        A_FASTEST=fastest == 0, BLOCK=BLOCK, enable_fp_fusion=False,
    )  # fmt: skip


@triton.jit(
    do_not_specialize=[
        "first", "label_a", "label_b", "label_c", "score_channel", "score_a", "score_b", "score_c",
        "corner_a", "corner_b", "corner_c", "size_a", "size_b", "size_c", "voxels", "count",
    ],
    do_not_specialize_on_alignment=[
        "scores", "low_a", "high_a", "share_a", "low_b", "high_b", "share_b", "low_c", "high_c", "share_c",
    ],
)  # fmt: skip
def _decide(
    labels, first, label_a, label_b, label_c, scores, score_channel, score_a, score_b, score_c,
    corner_a, corner_b, corner_c,
    low_a, high_a, share_a, low_b, high_b, share_b, low_c, high_c, share_c,
    size_a, size_b, size_c, voxels, channels, values, count, above,
    A_FASTEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = voxel < voxels
    if A_FASTEST:
        a, rest = voxel % size_a, voxel // size_a
        c, b = rest % size_c, rest // size_c
    else:
        c, rest = voxel % size_c, voxel // size_c
        b, a = rest % size_b, rest // size_b
    a0 = (tl.load(low_a + a, mask=inside, other=0) - corner_a) * score_a
    a1 = (tl.load(high_a + a, mask=inside, other=0) - corner_a) * score_a
    b0 = (tl.load(low_b + b, mask=inside, other=0) - corner_b) * score_b
    b1 = (tl.load(high_b + b, mask=inside, other=0) - corner_b) * score_b
    c0 = (tl.load(low_c + c, mask=inside, other=0) - corner_c) * score_c
    c1 = (tl.load(high_c + c, mask=inside, other=0) - corner_c) * score_c
    sa = tl.load(share_a + a, mask=inside, other=0.0)
    sb = tl.load(share_b + b, mask=inside, other=0.0)
    sc = tl.load(share_c + c, mask=inside, other=0.0)
    best = tl.full([BLOCK], above, tl.float32)
    winner = tl.zeros([BLOCK], tl.int32)
    for n in range(count):
        one = scores + tl.load(channels + n).to(tl.int64) * score_channel
        low = tl.load(one + (a0 + b0 + c0), mask=inside, other=0.0)
        v00 = low + (tl.load(one + (a1 + b0 + c0), mask=inside, other=0.0) - low) * sa
        low = tl.load(one + (a0 + b1 + c0), mask=inside, other=0.0)
        v10 = low + (tl.load(one + (a1 + b1 + c0), mask=inside, other=0.0) - low) * sa
        low = tl.load(one + (a0 + b0 + c1), mask=inside, other=0.0)
        v01 = low + (tl.load(one + (a1 + b0 + c1), mask=inside, other=0.0) - low) * sa
        low = tl.load(one + (a0 + b1 + c1), mask=inside, other=0.0)
        v11 = low + (tl.load(one + (a1 + b1 + c1), mask=inside, other=0.0) - low) * sa
        v0 = v00 + (v10 - v00) * sb
        v1 = v01 + (v11 - v01) * sb
        score = v0 + (v1 - v0) * sc
        higher = score > best
        winner = tl.where(higher, tl.load(values + n), winner)
        best = tl.where(higher, score, best)
    where = labels + (first + a.to(tl.int64) * label_a + b.to(tl.int64) * label_b + c.to(tl.int64) * label_c)
    tl.store(where, winner.to(labels.dtype.element_ty), mask=inside)
