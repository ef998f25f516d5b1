"""A network that is shown each window enlarged, too."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn  # noqa: TID253 - imported when a network is opened
from torch.nn.functional import interpolate  # noqa: TID253

__all__ = ["Zoomed"]

LINEAR = {2: "bilinear", 3: "trilinear"}


class Zoomed(nn.Module):
    """Gives the mean of a network's logits of a window, and of the window at other sizes.

    A factor of 1.5 shows it with 1.5 times as many voxels along each axis, rounded so that sides are
    multiples of `divisor`; windows and logits are interpolated linearly.
    """

    def __init__(self, network: nn.Module, factors: Sequence[float], divisor: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._factors, self._divisor = tuple(factors), tuple(divisor)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[N, C, *patch]` of `image[N, channels, *patch]`."""
        size = [int(side) for side in image.shape[2:]]
        mode = LINEAR[len(size)]
        total: Tensor = self.network(image)
        for factor in self._factors:
            sides = zip(size, self._divisor, strict=True)
            shown = [max(1, round(side * factor / multiple)) * multiple for side, multiple in sides]
            logits = self.network(interpolate(image, shown, mode=mode))
            total = total + interpolate(logits, size, mode=mode)
        return total / (1 + len(self._factors))
