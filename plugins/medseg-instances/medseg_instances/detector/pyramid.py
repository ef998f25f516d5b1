"""A feature pyramid: what an image shows, at several scales, with the same channels at each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn  # noqa: TID253 - imported where a detector is built
from torch.nn.functional import interpolate  # noqa: TID253

__all__ = ["Pyramid", "block", "convolution"]

GROUPS = (
    8  # of channels that are normalised together: batches of a sample or two are too small for a batch norm
)


def convolution(dims: int) -> Any:
    """The convolution of so many axes."""
    return nn.Conv2d if dims == 2 else nn.Conv3d


def block(inputs: int, outputs: int, *, dims: int, stride: int | tuple[int, ...] = 1) -> nn.Sequential:
    """A convolution of kernel 3, normalisation in groups, ReLU."""
    groups = next(n for n in range(min(GROUPS, outputs), 0, -1) if outputs % n == 0)
    return nn.Sequential(
        convolution(dims)(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(groups, outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two blocks whose outcome is added to what came in."""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(block(width, width, dims=dims), block(width, width, dims=dims))

    def forward(self, images: Tensor) -> Tensor:
        """The same shape."""
        found: Tensor = images + self.blocks(images)
        return found


class Pyramid(nn.Module):
    """Residual stages, each coarser than the one before, and a way back (T.-Y. Lin et al., CVPR 2017).

    `features` are the stages' channels, the first at full resolution, `strides` those between them. Levels of
    `width` channels begin at stage `finest`.
    """

    def __init__(
        self,
        inputs: int,
        features: Sequence[int],
        strides: Sequence[tuple[int, ...]],
        *,
        finest: int,
        width: int,
        dims: int,
    ) -> None:
        super().__init__()
        self.finest = finest
        steps: list[Any] = [1, *strides]
        stages = []
        for outputs, stride in zip(features, steps, strict=True):
            stages.append(
                nn.Sequential(block(inputs, outputs, dims=dims, stride=stride), Residual(outputs, dims))
            )
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        kind = convolution(dims)
        self.across = nn.ModuleList(kind(count, width, 1) for count in features[finest:])
        self.smooth = nn.ModuleList(kind(width, width, 3, padding=1) for _ in features[finest:])
        for layer in (*self.across, *self.smooth):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # nothing is cut off behind it
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The levels `[N, width, *size]`, the finest first, in single precision."""
        found = []
        for number, stage in enumerate(self.stages):
            images = stage(images)
            if number >= self.finest:
                found.append(self.across[number - self.finest](images))
        for number in range(len(found) - 1, 0, -1):
            finer = found[number - 1]
            found[number - 1] = finer + interpolate(found[number], finer.shape[2:], mode="nearest")
        return [smooth(level).float() for smooth, level in zip(self.smooth, found, strict=True)]
