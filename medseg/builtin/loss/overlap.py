"""Losses of overlap, as Dice and Tversky: measured on probabilities, where the reference is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg.builtin.loss.channels import Activation, first_channel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medseg.builtin.loss.masked import Maps

__all__ = ["overlap"]


def overlap(  # noqa: PLR0913 - the call of a loss, and what makes one of it
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    maps: Maps,
    *,
    activation: Activation,
    include_background: bool,
    measure: nn.Module,
) -> Tensor:
    """What MONAI's `measure` says of probabilities and target, `[N, C, *patch]` with 0 where unknown.

    A voxel with 0 in both is neither hit nor miss, so what is unknown drops out of every sum. The measure
    averages over samples and channels.
    """
    from medseg.builtin.loss.masked import probabilities

    first = first_channel(activation, include_background=include_background)
    found = probabilities(logits, activation)[:, first:]
    value: Tensor = measure(found * valid, target[:, first:] * valid)
    return value
