"""The loss `cross-entropy`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from medseg.builtin.loss.channels import Activation, activation_of
from medseg.errors import PipelineError
from medseg.steps import Head, Loss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medseg.builtin.loss.masked import Maps

__all__ = ["CrossEntropy", "Weights", "per_channel", "require_one_each"]

Weights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]


class CrossEntropy(Loss):
    """Cross-entropy of each voxel: minus the logarithm of the probability given to what is there.

    With softmax the sum over channels of -y log p, log C where the network is undecided among C channels.
    With sigmoid the mean over channels of the binary cross-entropy, log 2 where it is undecided. The mean
    over a sample's known voxels, then over samples.
    """

    weights: Weights | None = None
    """Weight of each channel, with softmax the background first, not divided by their sum; null: 1 each."""

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits; it raises PipelineError where there are not as many weights as channels."""
        from medseg.builtin.loss.masked import LossModule

        activation = activation_of(head, "cross-entropy")
        require_one_each(self.weights, channels, "cross-entropy.weights")
        return LossModule(partial(_cross_entropy, activation=activation, weights=self.weights))


def _cross_entropy(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    maps: Maps,
    *,
    activation: Activation,
    weights: tuple[float, ...] | None,
) -> Tensor:
    from torch.nn import functional

    from medseg.builtin.loss.masked import mean_over_known

    if activation == "softmax":
        surprise = -target * logits.log_softmax(1)
    else:
        surprise = functional.binary_cross_entropy_with_logits(
            logits, target.to(logits.dtype), reduction="none"
        )
    if weights is not None:
        surprise = surprise * per_channel(weights, logits)
    voxels = surprise.sum(1) if activation == "softmax" else surprise.mean(1)
    return mean_over_known(voxels, valid)


def require_one_each(numbers: tuple[float, ...] | None, channels: int, what: str) -> None:
    """PipelineError where there are numbers, and not as many as channels."""
    if numbers is not None and len(numbers) != channels:
        raise PipelineError(
            f"{what}: {len(numbers)} numbers for {channels} channels; "
            "give one for each, with softmax the background first"
        )


def per_channel(numbers: tuple[float, ...], logits: Tensor) -> Tensor:
    """The numbers as `[C, 1, …]`, to be multiplied with `logits[N, C, *patch]`."""
    return logits.new_tensor(numbers).reshape(-1, *(1,) * (logits.ndim - 2))
