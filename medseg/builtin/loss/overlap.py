"""Losses of overlap, as Dice and Tversky: hits and errors of probabilities where the reference is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from medseg.builtin.loss.channels import Activation, first_channel

if TYPE_CHECKING:
    from torch import Tensor

    from medseg.builtin.loss.masked import Maps

__all__ = ["Costs", "overlap"]


class Costs(NamedTuple):
    """What a voxel found in error and a missed one count against a hit, and voxels added to both sides."""

    found: float
    missed: float
    smooth: float


def overlap(  # noqa: PLR0913 - the call of a loss, and what makes one of it
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    maps: Maps,
    *,
    activation: Activation,
    include_background: bool,
    costs: Costs,
) -> Tensor:
    """1 - hits / (hits + what errors cost) of each sample and channel, averaged.

    What is unknown has 0 in both probability and reference, so that it is neither hit nor error. The hits of
    a voxel are the smaller of both: of a reference of 0 and 1 this is their product, and of shares it is
    right too. MONAI has it from norms instead, which in float32 lose small labels: on a CPU sums over 128^3
    are off by 3e-4.
    """
    import torch

    from medseg.builtin.loss.masked import probabilities

    first = first_channel(activation, include_background=include_background)
    found = probabilities(logits, activation)[:, first:] * valid
    there = target[:, first:] * valid
    axes = tuple(range(2, found.ndim))
    hits = torch.minimum(found, there).sum(axes)
    errors = costs.found * (found.sum(axes) - hits) + costs.missed * (there.sum(axes) - hits)
    return (1 - (hits + costs.smooth) / (hits + errors + costs.smooth)).mean()
