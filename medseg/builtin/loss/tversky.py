"""The loss `tversky`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from medseg.builtin.loss.channels import activation_of
from medseg.steps import Head, Loss

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Tversky"]


class Tversky(Loss):
    """Tversky loss: 1 - TP / (TP + a FP + b FN) of each sample and channel, averaged.

    With `fp_weight` a and `fn_weight` b both 0.5 it is the Dice loss, with both 1 the Jaccard loss. To find
    more of small lesions, make misses dear: 0.3 and 0.7 (Salehi et al., MLMI 2017, 379-387). Papers and code
    do not agree on whether alpha weighs false positives or false negatives; the names here say it. Sums,
    shares and absent labels are as in `dice`.
    """

    fp_weight: float = Field(default=0.5, ge=0)
    """What a voxel found in error costs."""

    fn_weight: float = Field(default=0.5, ge=0)
    """What a missed voxel costs."""

    include_background: bool = False
    """Whether the background counts as a label too; with sigmoid there is none."""

    smooth: float = Field(default=1e-5, gt=0)
    """Voxels added to numerator and denominator."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits, the same in 2-D and 3-D."""
        from medseg.builtin.loss.masked import LossModule
        from medseg.builtin.loss.overlap import Costs, overlap

        return LossModule(
            partial(
                overlap,
                activation=activation_of(head, "tversky"),
                include_background=self.include_background,
                costs=Costs(self.fp_weight, self.fn_weight, self.smooth),
            )
        )
