"""The terms that the losses of this package are made of: each a mean over samples, of known voxels only."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn  # noqa: TID253 - imported when a loss is built
from torch.nn.functional import cross_entropy, smooth_l1_loss  # noqa: TID253

__all__ = ["FieldTerm", "LabelTerms", "Maps", "Terms", "mean_over_known"]

Maps = Mapping[str, Tensor]
SMOOTH = 1e-5  # voxels
BETA = 0.1  # up to where an error counts with its square


class Terms(nn.Module):
    """Their sum."""

    def __init__(self, *terms: nn.Module) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        values = [term(logits, target, valid, maps) for term in self.terms]
        total: Tensor = sum(values[1:], start=values[0])
        return total


class LabelTerms(nn.Module):
    """Cross-entropy and soft Dice of the first channels, which exclude each other; 0 is the background.

    In the cross-entropy voxels count 1 + `gap_weight` x the map `closeness`.
    """

    def __init__(self, channels: int, gap_weight: float = 0.0) -> None:
        super().__init__()
        self.channels, self.gap_weight = channels, gap_weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        logits, target = logits[:, : self.channels].float(), target[:, : self.channels]
        counted = valid * (1 + self.gap_weight * maps["closeness"]) if self.gap_weight else valid
        entropy = mean_over_known(cross_entropy(logits, target, reduction="none")[:, None], counted)
        shares, axes = logits.softmax(1)[:, 1:] * valid, tuple(range(2, logits.ndim))
        wanted = target[:, 1:] * valid
        both = (shares * wanted).sum(axes)
        dice = (2 * both + SMOOTH) / (shares.sum(axes) + wanted.sum(axes) + SMOOTH)
        return entropy + 1 - dice.mean()


class FieldTerm(nn.Module):
    """Smooth L1 distance of the channels from `first` on, within objects.

    What they should be is the target, or the map called `name`; where that is negative nothing is asked.
    Voxels count 1 + `gap_weight` x the map `closeness`.
    """

    def __init__(self, first: int, weight: float, name: str | None = None, gap_weight: float = 0.0) -> None:
        super().__init__()
        self.first, self.weight, self.name, self.gap_weight = first, weight, name, gap_weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        wanted = target[:, self.first :] if self.name is None else maps[self.name]
        off = smooth_l1_loss(logits[:, self.first :].float(), wanted, reduction="none", beta=BETA)
        inside = valid * (target[:, :1] < 0.5) * (wanted[:, :1] >= 0)
        if self.gap_weight:
            inside = inside * (1 + self.gap_weight * maps["closeness"])
        return self.weight * mean_over_known(off.sum(1, keepdim=True), inside)


def mean_over_known(values: Tensor, known: Tensor) -> Tensor:
    """Mean of `values[N, 1, *patch]`, which count as much as `known` says, then over samples.

    It is 0 for a sample without any.
    """
    axes = tuple(range(1, values.ndim))
    return ((values * known).sum(axes) / known.sum(axes).clamp(min=1)).mean()
