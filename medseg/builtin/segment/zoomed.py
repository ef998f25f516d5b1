"""A network that is shown each window enlarged, too."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn  # noqa: TID253 - imported when a network is opened
from torch.nn.functional import interpolate, pad  # noqa: TID253

__all__ = ["Zoomed"]

LINEAR = {2: "bilinear", 3: "trilinear"}


class Zoomed(nn.Module):
    """Gives the mean of a network's logits of a window, and of the window at other sizes.

    A factor of 1.5 shows it with 1.5 times as many voxels along each axis of more than one; windows and
    logits are interpolated linearly. Where the network takes multiples of `divisor` only, the window's last
    voxels go on up to the next one, and what it makes of those is cut off.
    """

    def __init__(self, network: nn.Module, factors: Sequence[float], divisor: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._factors, self._divisor = tuple(factors), tuple(divisor)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[N, C, *patch]` of `image[N, channels, *patch]`; raises ValueError as the network does."""
        total: Tensor = self.network(image)
        for factor in self._factors:
            try:
                total = total + self._at(factor, image)
            except ValueError as problem:
                raise ValueError(f"zoomed by {factor:g}, {problem}") from problem
        return total / (1 + len(self._factors))

    def _at(self, factor: float, image: Tensor) -> Tensor:
        size = [int(side) for side in image.shape[2:]]
        mode = LINEAR[len(size)]
        shown = [max(1, int(side * factor + 0.5)) if side > 1 else 1 for side in size]
        over = [-side % multiple for side, multiple in zip(shown, self._divisor, strict=True)]
        larger = interpolate(image, shown, mode=mode)
        if any(over):
            larger = pad(larger, [n for more in reversed(over) for n in (0, more)], mode="replicate")
        logits = self.network(larger)[(..., *(slice(side) for side in shown))]
        return interpolate(logits, size, mode=mode)

    def extra_repr(self) -> str:
        """The factors, which say what the module computes."""
        return f"factors={self._factors}"
