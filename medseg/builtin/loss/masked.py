"""What losses compute alike: on the voxels whose reference is known, in float32, sample by sample.

A sample's value is its mean over its own known voxels, and a batch's the mean over its samples. One mean over
all voxels of a batch would weigh a sample by how much of it is known, and change with the number of devices
over which the batch is spread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch  # noqa: TID253 - a loss imports this module when it is built, not when its parameters are read
from torch import Tensor, nn  # noqa: TID253

from medseg.builtin.loss.channels import Activation

__all__ = ["LossModule", "Maps", "mean_over_known", "probabilities"]

Maps = Mapping[str, Tensor]


class LossModule(nn.Module):
    """A function of `(logits, target, valid, maps)` as the module that training calls.

    Logits of a network in mixed precision become float32 first: their products and sums over a patch need it.
    """

    def __init__(self, value: Callable[[Tensor, Tensor, Tensor, Maps], Tensor]) -> None:
        super().__init__()
        self._value = value

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return self._value(exact, target, valid, maps)


def probabilities(logits: Tensor, activation: Activation) -> Tensor:
    """Of logits `[N, C, *patch]`."""
    return logits.softmax(1) if activation == "softmax" else logits.sigmoid()


def mean_over_known(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of `values[N, *patch]` where `valid[N, 1, *patch]` is 1, then over samples.

    A sample of which nothing is known counts 0.
    """
    known = valid[:, 0].to(values.dtype)
    axes = tuple(range(1, values.ndim))
    return ((values * known).sum(axes) / known.sum(axes).clamp(min=1)).mean()
