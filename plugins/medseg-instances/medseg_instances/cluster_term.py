"""The term of the loss `discriminative` that is of the points."""

from __future__ import annotations

from collections.abc import Mapping

import torch  # noqa: TID253 - imported when a loss is built
from torch import Tensor, nn  # noqa: TID253

__all__ = ["ClusterTerm"]

TINY = 1e-12  # in a root, whose slope is then finite where two points are the same


class ClusterTerm(nn.Module):
    """How far points, which begin at channel `first`, are from where an object's should be; mean of objects.

    The target has the objects' numbers in its channel `first`.
    """

    def __init__(self, first: int, *, pull: float, push: float, unit: float, weight: float = 1.0) -> None:
        super().__init__()
        self.first, self.pull, self.push = first, pull, push
        self.unit, self.weight = unit, weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """The scalar."""
        points = self.placed(logits[:, self.first :].float()).flatten(2)
        numbers = (target[:, self.first] * valid[:, 0]).flatten(1)
        samples = [self._of_sample(*pair) for pair in zip(points, numbers, strict=True)]
        return self.weight * torch.stack(samples).mean()

    def placed(self, points: Tensor) -> Tensor:
        """Points `[N, E, *patch]` with the voxels' places added to the first dimensions."""
        patch = points.shape[2:]
        lines = [torch.arange(size, device=points.device) / self.unit for size in patch]
        places = torch.stack(torch.meshgrid(*lines, indexing="ij"))
        more = points.shape[1] - len(patch)
        return points + torch.cat([places, places.new_zeros(more, *patch)])[None]

    def _of_sample(self, points: Tensor, numbers: Tensor) -> Tensor:
        """Of points `[E, n]` and the numbers `[n]` of the objects that they are of, 0 for none."""
        there = numbers > 0
        if not there.any():
            return 0 * points.sum()
        points = points[:, there].T
        _, of = torch.unique(numbers[there], return_inverse=True)
        size = of.bincount().float()
        count = len(size)
        means = points.new_zeros(count, points.shape[1]).index_add(0, of, points) / size[:, None]
        far = (_length(points - means[of]) - self.pull).clamp(min=0).square()
        pulled = points.new_zeros(count).index_add(0, of, far) / size
        near = (2 * self.push - _length(means[:, None] - means[None])).clamp(min=0).square()
        pushed = near.sum(1) - near.diagonal()
        cost: Tensor = (pulled + pushed).mean()
        return cost


def _length(vectors: Tensor) -> Tensor:
    return torch.sqrt(vectors.square().sum(-1) + TINY)
