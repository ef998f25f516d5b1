"""Mean field of a fully connected pairwise field with the Potts model.

P. Krähenbühl, V. Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials, NIPS 2011
(arXiv 1210.5644). Labels of two voxels that differ cost the sum of the kernels between them; each kernel is
divided by the square roots of what both voxels hear in all, so that a weight means the same for all SDs and
at the edge of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

__all__ = ["Kernel", "mean_field"]


class Kernel(Protocol):
    """Between all pairs of voxels, 1 between a voxel and itself."""

    def heard(self, values: torch.Tensor) -> torch.Tensor:
        """For each voxel of `values[C, i, j, k]` the weighted sum over all voxels, itself included."""


def mean_field(
    unary: torch.Tensor, kernels: Sequence[tuple[float, Kernel]], *, iterations: int, exclusive: bool
) -> torch.Tensor:
    """Logits `[C, i, j, k]` after so many updates of all voxels at once.

    `unary` are the logits to begin with. Where labels are `exclusive`, channels are compared with each other
    (softmax); else each is a field of two labels by itself (sigmoid). Shares of two labels add up to 1, so
    that the first channel of exclusive ones need not be heard.
    """
    import torch

    said = [_Normalised(kernel, unary[:1], weight) for weight, kernel in kernels]
    most = _sum([each.heard(torch.ones_like(unary[:1])) for each in said], unary[:1])
    logits = unary
    for _ in range(iterations):
        shares = logits.softmax(dim=0)[1:] if exclusive else logits.sigmoid()
        heard = _sum([each.heard(shares) for each in said], shares)
        if exclusive:
            logits = torch.cat([unary[:1] + most - heard.sum(dim=0, keepdim=True), unary[1:] + heard])
        else:
            logits = unary + 2 * heard - most
    return logits


def _sum(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    import torch

    total = torch.zeros_like(like)
    for part in parts:
        total += part
    return total


class _Normalised:
    """A kernel between different voxels, divided by the square roots of what both hear; times a weight."""

    def __init__(self, kernel: Kernel, like: torch.Tensor, weight: float) -> None:
        import torch

        self._kernel = kernel
        self._scale = kernel.heard(torch.ones_like(like)).rsqrt()
        self._weight = weight

    def heard(self, shares: torch.Tensor) -> torch.Tensor:
        heard = self._kernel.heard(shares * self._scale)
        heard -= shares * self._scale  # a voxel does not hear itself
        return heard.mul_(self._scale).mul_(self._weight)
