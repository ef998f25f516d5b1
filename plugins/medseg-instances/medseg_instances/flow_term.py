"""The term of the loss `flow` that is of the flows."""

from __future__ import annotations

from torch import Tensor, nn  # noqa: TID253 - imported when a loss is built

from medseg_instances.label_terms import Maps, mean_over_known

__all__ = ["FlowTerm"]


class FlowTerm(nn.Module):
    """Squared distance of the flows, which begin at channel `first`, in objects: a mean over known voxels.

    A patch of two axes has flows along them, and what the third channel says is not looked at.
    """

    def __init__(self, first: int, weight: float) -> None:
        super().__init__()
        self.first, self.weight = first, weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        """The scalar."""
        flows = slice(self.first, self.first + logits.ndim - 2)
        off = (logits[:, flows].float() - target[:, flows]).square().sum(1, keepdim=True)
        inside = valid * (target[:, :1] < 0.5)
        return self.weight * mean_over_known(off, inside)
