"""The loss `dice`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from medseg.builtin.loss.channels import activation_of
from medseg.steps import Head, Loss

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Dice"]


class Dice(Loss):
    """Soft Dice loss: 1 - 2 TP / (2 TP + FP + FN) of each sample and channel, averaged.

    TP, FP and FN are sums of probabilities over the known voxels (Milletari et al., 3DV 2016, 565-571), so a
    small label counts as much as a large one. For references that are shares, as where labels were scaled,
    TP is the sum of the smaller of both (Wang et al., MICCAI 2023, 475-485), so that the loss is 0 where
    both are equal. A label that is absent from a sample counts about 1 there, with hardly any gradient: add
    cross-entropy, which punishes what is found of it.
    """

    include_background: bool = False
    """Whether the background counts as a label too; with sigmoid there is none."""

    smooth: float = Field(default=1e-5, gt=0)
    """Voxels added to numerator and denominator; more than a few punish what is found of absent labels."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits, the same in 2-D and 3-D."""
        from medseg.builtin.loss.masked import LossModule
        from medseg.builtin.loss.overlap import Costs, overlap

        return LossModule(
            partial(
                overlap,
                activation=activation_of(head, "dice"),
                include_background=self.include_background,
                costs=Costs(0.5, 0.5, self.smooth / 2),  # numerator and denominator are halved: TP, not 2 TP
            )
        )
