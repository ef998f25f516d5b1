"""Several losses added up, as one module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn  # noqa: TID253 - imported when a loss is built

from medseg.builtin.loss.map_names import of_number
from medseg.builtin.loss.masked import Maps

__all__ = ["Added"]


class Added(nn.Module):
    """Sum of losses times weights; each sees the maps of its number only. One of weight 0 is not computed."""

    def __init__(self, losses: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        values = [
            weight * loss(logits, target, valid, of_number(number, maps))
            for number, (loss, weight) in enumerate(zip(self.losses, self.weights, strict=True))
            if weight
        ]
        total: Tensor = sum(values[1:], start=values[0])
        return total
