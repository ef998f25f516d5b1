"""The loss `focal`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from medseg.builtin.loss.channels import Activation, activation_of
from medseg.builtin.loss.cross_entropy import per_channel, require_one_each
from medseg.steps import Head, Loss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medseg.builtin.loss.masked import Maps

__all__ = ["Focal"]

Share = Annotated[float, Field(ge=0, le=1)]


class Focal(Loss):
    """Focal loss: cross-entropy in which voxels that are already right count less.

    Each voxel's term is multiplied with (1 - p) to the power of gamma, p being the probability given to what
    is there (Lin et al., ICCV 2017, 2999-3007). Averaged as `cross-entropy` is, which it equals with gamma 0:
    with softmax the sum over channels, where MONAI's takes their mean and is C times smaller.
    """

    gamma: float = Field(default=2.0, ge=0, le=10)
    """How steeply the weight of easy voxels falls."""

    alpha: Annotated[tuple[Share, ...], Field(min_length=1)] | None = None
    """One number for each channel, with softmax the background first; null for none.

    With softmax the weight of the voxels of that channel; with sigmoid of those where its label is, and 1
    less it of the others.
    """

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; it raises PipelineError where there are not as many alphas as channels."""
        from medseg.builtin.loss.masked import LossModule

        activation = activation_of(head, "focal")
        require_one_each(self.alpha, channels, "focal.alpha")
        return LossModule(partial(_focal, activation=activation, gamma=self.gamma, alpha=self.alpha))


def _focal(  # noqa: PLR0913 - the call of a loss, and its parameters
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    maps: Maps,
    *,
    activation: Activation,
    gamma: float,
    alpha: tuple[float, ...] | None,
) -> Tensor:
    from medseg.builtin.loss.masked import mean_over_known

    weight = None if alpha is None else per_channel(alpha, logits)
    if activation == "softmax":
        surprise = target * _of_softmax(logits, gamma)
        return mean_over_known((surprise if weight is None else surprise * weight).sum(1), valid)
    there, absent = target * _of_sigmoid(logits, gamma), (1 - target) * _of_sigmoid(-logits, gamma)
    if weight is not None:
        there, absent = weight * there, (1 - weight) * absent
    return mean_over_known((there + absent).mean(1), valid)


def _of_softmax(logits: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p for each channel."""
    import torch

    log = logits.log_softmax(1)
    # at p = 1 the power has an infinite slope where gamma is below 1, and log p is 0: held just off it
    return -((1 - log.exp()).clamp(min=torch.finfo(log.dtype).eps) ** gamma) * log


def _of_sigmoid(logits: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p, by logarithms alone: 1 - p is never rounded to 0."""
    from torch.nn import functional

    return -(gamma * functional.logsigmoid(-logits)).exp() * functional.logsigmoid(logits)
