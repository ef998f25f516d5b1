"""Mean-field updates as a layer of a network, whose weights are trained with the rest.

S. Zheng et al., Conditional random fields as recurrent neural networks, ICCV 2015 (arXiv 1502.03240): the
updates are unrolled, the kernels' weights and the compatibility of labels are trained, and gradients go
through all updates. The window is that of M. Teichmann, R. Cipolla, Convolutional CRFs for semantic
segmentation (arXiv 1805.04777).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253 - imported when such a network is built
from torch import Tensor, nn  # noqa: TID253

from medseg_crf.windowed import Kernel, Smooth, Windowed

__all__ = ["CrfLayer", "Kernels", "WithCrf"]


@dataclass(frozen=True)
class Kernels:
    """Widths and reach in voxels along each axis; `intensity` is an SD in the unit of the network's input.

    `guides` are the input channels that are looked at.
    """

    smooth: tuple[float, ...]
    appearance: tuple[float, ...]
    reach: tuple[int, ...]
    intensity: float
    guides: tuple[int, ...]

    def of(self, image: Tensor) -> list[Kernel]:
        """Those of images `[N, C, *size]`."""
        looked_at = image[:, list(self.guides)] / self.intensity
        return [Smooth(looked_at, self.smooth), Windowed(looked_at, self.appearance, self.reach)]


class CrfLayer(nn.Module):
    """Logits after so many updates of a field that an image guides; no gradient goes to the image.

    `weights` are those of the kernel of distance and of that of distance and intensity. Where labels are
    `exclusive`, `compatibility[k, l]` is what a neighbour of label l costs a voxel of label k, at first 1
    between unlike labels (Potts); else how much label l speaks for label k, at first 1 for itself.
    """

    def __init__(
        self, channels: int, kernels: Kernels, weights: Sequence[float], *, iterations: int, exclusive: bool
    ) -> None:
        super().__init__()
        self.kernels, self.iterations, self.exclusive = kernels, iterations, exclusive
        self.weights = nn.Parameter(torch.tensor(tuple(weights)))
        same = torch.eye(channels)
        self.compatibility = nn.Parameter(1 - same if exclusive else same)
        self.seen = nn.Identity()  # by whoever counts what passes between layers

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        """Logits `[N, K, *size]` of images `[N, C, *size]`."""
        if torch.compiler.is_exporting():
            raise RuntimeError("a graph of thousands of sums is no gain; crf-rnn runs in PyTorch")
        low = logits.dtype in (torch.float16, torch.bfloat16)  # autocast's; sums need more
        unary = (logits.float() if low else logits).contiguous()
        meta = logits.device.type == "meta"  # where memory is told without taking it, and nothing is cast
        with nullcontext() if meta else torch.autocast(logits.device.type, enabled=False):
            with torch.no_grad():
                kernels = self.kernels.of(image.to(unary.dtype))
            for kernel in kernels:
                for kept in kernel.kept:
                    self.seen(kept)
            found = unary
            for _ in range(self.iterations):
                found = unary + self._said(found, kernels)
        return found

    def _said(self, logits: Tensor, kernels: Sequence[Kernel]) -> Tensor:
        """What the neighbours' shares add to the logits."""
        shares = logits.softmax(dim=1) if self.exclusive else 2 * logits.sigmoid() - 1
        heard = torch.zeros_like(shares)
        for weight, kernel in zip(self.weights, kernels, strict=True):
            heard = heard + weight * _heard(shares, kernel)
        said: Tensor = torch.tensordot(self.compatibility, heard, dims=([1], [1])).transpose(0, 1)
        return -said if self.exclusive else said

    def extra_repr(self) -> str:
        """Its parameters, by which one network is told from another."""
        return f"{self.kernels}, iterations={self.iterations}, exclusive={self.exclusive}"


class WithCrf(nn.Module):
    """A network and a field after it; of a list of logits the first, at full resolution, is refined."""

    def __init__(self, network: nn.Module, field: CrfLayer) -> None:
        super().__init__()
        self.network, self.field = network, field

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Logits `[N, K, *patch]`; in training mode a list of them where the network gives one."""
        found = self.network(images)
        if isinstance(found, Tensor):
            refined: Tensor = self.field(found, images)
            return refined
        return [self.field(found[0], images), *found[1:]]


def _heard(values: Tensor, kernel: Kernel) -> Tensor:
    if torch.is_grad_enabled() and values.requires_grad:
        heard: Tensor = _Heard.apply(values, kernel)  # type: ignore[no-untyped-call]
        return heard
    return kernel.heard(values)


class _Heard(torch.autograd.Function):
    """A kernel's sums; as it is symmetric, their gradient is the same sums, and nothing is kept for it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kernel: Kernel) -> Tensor:
        ctx.kernel = kernel
        return kernel.heard(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _heard(gradient, ctx.kernel), None
