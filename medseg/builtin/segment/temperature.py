"""A network whose logits are divided by a temperature."""

from __future__ import annotations

from torch import Tensor, nn  # noqa: TID253 - imported when a network is opened

__all__ = ["Tempered"]


class Tempered(nn.Module):
    """Gives the logits of a network divided by one number.

    Logits of windows and members are averaged, so that it is the same to divide before or after.
    """

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self._temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[N, C, *patch]` of `image[N, channels, *patch]`."""
        logits: Tensor = self.network(image)
        return logits / self._temperature
