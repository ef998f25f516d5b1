"""The loss `dice-ce`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from medseg.builtin.loss.cross_entropy import CrossEntropy, Weights
from medseg.builtin.loss.dice import Dice
from medseg.steps import Head, Loss

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DiceCe"]


class DiceCe(Loss):
    """Sum of `dice` and `cross-entropy`: the pair that nnU-Net trains with, and a good first choice.

    Dice makes small labels count, cross-entropy gives every voxel a gradient from the start, also where a
    label is absent (Isensee et al., Nature Methods 18, 2021, 203-211).
    """

    dice_weight: float = Field(default=1.0, ge=0)
    """What the Dice loss is multiplied with."""

    ce_weight: float = Field(default=1.0, ge=0)
    """What the cross-entropy is multiplied with."""

    weights: Weights | None = None
    """Weight of each channel in the cross-entropy, as there; null for 1 each."""

    include_background: bool = False
    """Whether the background counts in the Dice loss; with sigmoid there is none."""

    smooth: float = Field(default=1e-5, gt=0)
    """Voxels added to numerator and denominator of Dice, as there."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.dice_weight == self.ce_weight == 0:
            raise ValueError("dice_weight and ce_weight are both 0: nothing is left to train on")
        return self

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits, the same in 2-D and 3-D."""
        from medseg.builtin.loss.added import Added

        dice = Dice(include_background=self.include_background, smooth=self.smooth)
        entropy = CrossEntropy(weights=self.weights)
        return Added(
            [loss.build(head, spacing=spacing, channels=channels) for loss in (dice, entropy)],
            [self.dice_weight, self.ce_weight],
        )
