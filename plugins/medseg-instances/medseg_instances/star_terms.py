"""The terms of the loss `star-convex`: each a mean over samples, of known voxels only."""

from __future__ import annotations

from torch import Tensor, nn  # noqa: TID253 - imported when a loss is built
from torch.nn.functional import binary_cross_entropy_with_logits  # noqa: TID253

from medseg_instances.label_terms import Maps

__all__ = ["DepthTerm", "RayTerm"]


class DepthTerm(nn.Module):
    """Binary cross-entropy of the depth, channel `first`: its mean in objects, and its mean outside of them.

    Apart, since objects fill little of an image in space. What a depth between 0 and 1 has at best is taken
    off: the cross-entropy of a half with itself is not 0.
    """

    def __init__(self, first: int, weight: float) -> None:
        super().__init__()
        self.first, self.weight = first, weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        part = slice(self.first, self.first + 1)
        depth = target[:, part]
        entropy = binary_cross_entropy_with_logits(logits[:, part].float(), depth, reduction="none")
        best = binary_cross_entropy_with_logits(depth.logit(1e-6), depth, reduction="none")
        off, inside = entropy - best, (depth > 0).float()
        both = _weighted_mean(off, valid * inside) + _weighted_mean(off, valid * (1 - inside))
        return self.weight * both


class RayTerm(nn.Module):
    """How far rays, the channels behind `first`, are off; more, the deeper their voxel, channel `first`."""

    def __init__(self, first: int, weight: float) -> None:
        super().__init__()
        self.first, self.weight = first, weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        wanted = target[:, self.first + 1 :]
        longer = logits[:, self.first + 1 :].float() - wanted.abs()
        off = longer.abs().where(wanted >= 0, (-longer).clamp(min=0))
        deep = valid * target[:, self.first : self.first + 1]
        return self.weight * _weighted_mean(off.mean(1, keepdim=True), deep)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of `values[N, 1, *patch]`, then over samples; 0 for a sample without any weight."""
    axes = tuple(range(1, values.ndim))
    return ((values * weights).sum(axes) / weights.sum(axes).clamp(min=1e-6)).mean()
