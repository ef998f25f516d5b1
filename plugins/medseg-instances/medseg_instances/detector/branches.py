"""The branches of a detector: at every place of the pyramid, for a box's class and place, for its mask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor, nn  # noqa: TID253

from medseg_instances.detector.pyramid import block, convolution

__all__ = ["BINS", "BoxBranch", "DenseBranch", "MaskBranch"]

BINS = 7  # of a box for its class and place, along each axis (K. He et al., 2017)
RARE = 0.01  # of anchors are of an object: what a new network says (T.-Y. Lin et al., ICCV 2017)
HIDDEN = 128


class DenseBranch(nn.Module):
    """Logits of `kinds` and a box for each of the `shapes` anchors at each place of each level."""

    def __init__(self, width: int, *, kinds: int, shapes: int, depth: int, dims: int) -> None:
        super().__init__()
        self.kinds, self.dims = kinds, dims
        kind = convolution(dims)
        tower = [[block(width, width, dims=dims) for _ in range(depth)] for _ in range(2)]
        lasts = [kind(width, shapes * count, 3, padding=1) for count in (kinds, 2 * dims)]
        for last in lasts:
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
        nn.init.constant_(lasts[0].bias, -math.log((1 - RARE) / RARE))
        self.classes = nn.Sequential(*tower[0], lasts[0])
        self.boxes = nn.Sequential(*tower[1], lasts[1])

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """`[N, A, kinds]` and `[N, A, 2 D]`, in the order of the anchors."""
        logits = torch.cat([_by_anchor(self.classes(level), self.kinds) for level in levels], 1)
        deltas = torch.cat([_by_anchor(self.boxes(level), 2 * self.dims) for level in levels], 1)
        return logits.float(), deltas.float()


def _by_anchor(values: Tensor, each: int) -> Tensor:
    """`[N, places * shapes, each]` of `[N, shapes * each, *size]`."""
    count = len(values)
    parts = values.reshape(count, -1, each, *values.shape[2:]).movedim((1, 2), (-2, -1))
    return parts.reshape(count, -1, each)


def plain(width: int, dims: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution of kernel 3 and ReLU: by normalisation in a box, how bright it is would be lost."""
    layer = convolution(dims)(width, width, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU(inplace=True))


class BoxBranch(nn.Module):
    """Logits of the background and each label, and a finer box, of the features in a box."""

    def __init__(self, width: int, *, labels: int, dims: int) -> None:
        super().__init__()
        hidden = nn.Linear(width * math.ceil(BINS / 4) ** dims, HIDDEN)
        nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
        self.body = nn.Sequential(
            plain(width, dims),
            plain(width, dims, stride=2),
            plain(width, dims, stride=2),
            nn.Flatten(),
            hidden,
            nn.ReLU(inplace=True),
        )
        self.classes = nn.Linear(HIDDEN, 1 + labels)
        self.boxes = nn.Linear(HIDDEN, 2 * dims)
        nn.init.normal_(self.boxes.weight, std=0.001)
        nn.init.zeros_(self.boxes.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`[R, 1 + labels]` and `[R, 2 D]` of `[R, width, *(BINS,) * D]`."""
        found = self.body(features)
        return self.classes(found).float(), self.boxes(found).float()


class MaskBranch(nn.Module):
    """The mask of what is in a box, twice as fine as the bins of its features, by the box's label."""

    def __init__(self, width: int, *, labels: int, dims: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        up = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        self.body = nn.Sequential(
            plain(width, dims),
            plain(width, dims),
            up(width, narrow, 2, stride=2),
            nn.ReLU(inplace=True),
        )
        self.weight = nn.Parameter(torch.empty(labels, narrow))
        self.bias = nn.Parameter(torch.zeros(labels))
        nn.init.normal_(self.weight, std=0.1)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Logits `[R, *(2 bins,) * D]` of `[R, width, *(bins,) * D]`, each of its label only."""
        found = self.body(features).float()
        logits = torch.einsum("rc...,rc->r...", found, self.weight[labels])
        return logits + self.bias[labels].reshape(-1, *[1] * (found.ndim - 2))
