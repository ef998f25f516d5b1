"""The loss `boundary`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.loss.channels import Activation, activation_of, first_channel
from medseg.errors import GeometryError
from medseg.segmentation import Segmentation
from medseg.steps import Head, Loss
from medseg.volume import Grid

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medseg.builtin.loss.masked import Maps

__all__ = ["Boundary", "signed_distance"]

MAP = "signed-distance-mm"
SQUARE = 1e-3  # cosine of the angle between two axes; less is rounding


class Boundary(Loss):
    """Boundary loss: what is found outside a label costs its distance in mm to the label's border.

    The mean over channels, known voxels and samples of p phi, where phi is the signed distance to the border
    of the reference: positive outside, negative inside (Kervadec et al., MIDL 2019, 285-296). It tells far
    errors from near ones, which no overlap does, and is negative where a label is found. It is in mm, tens
    of them at first, and alone it leads nowhere, since finding nothing is nearly a minimum: add it to `dice`
    or `dice-ce` with a small weight, as `sum: {losses: [dice-ce, boundary], weights: [1, 0.01]}`.

    Distances are those between voxel centres of either side, so they change sign halfway between voxels,
    where the authors' code counts one voxel less inside. A label that is absent, or fills the image, has no
    border and costs nothing.

    Voxels whose reference is not known belong to neither side: elsewhere distances are those to the nearest
    known voxel of the other side, and they themselves have 0.
    """

    include_background: bool = False
    """Whether the background has a border too; with sigmoid there is none."""

    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        """Signed distances in mm of each channel that counts; GeometryError without mm or right angles."""
        _require_square_mm(segmentation.grid)
        first = first_channel(activation_of(head, "boundary"), include_background=self.include_background)
        masks = head.target(segmentation)[first:] > 0.5
        distances = np.zeros(masks.shape, np.float32)
        for channel, mask in enumerate(masks):
            distances[channel] = signed_distance(mask, segmentation.grid.spacing, valid)
        return {MAP: distances}

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        """A module of logits and the prepared distances."""
        from medseg.builtin.loss.masked import LossModule

        activation = activation_of(head, "boundary")
        first = first_channel(activation, include_background=self.include_background)
        return LossModule(partial(_boundary, activation=activation, first=first))


def _boundary(
    logits: Tensor, target: Tensor, valid: Tensor, maps: Maps, *, activation: Activation, first: int
) -> Tensor:
    from medseg.builtin.loss.masked import mean_over_known, probabilities

    found = probabilities(logits, activation)[:, first:]
    return mean_over_known((found * maps[MAP]).mean(1), valid)


def signed_distance(
    mask: NDArray[np.bool_], spacing: tuple[float, ...], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Distance in mm to the nearest voxel of the other side, between centres: minus it inside.

    0 everywhere where there is no other side, and where `valid` is not: such voxels are on neither side.
    Beyond the image nothing is known, so its edge is no border.
    """
    import edt

    inside, outside = (mask, ~mask) if valid is None else (mask & valid, ~mask & valid)
    if not inside.any() or not outside.any():
        return np.zeros(mask.shape, np.float32)
    to_inside, to_outside = (
        edt.edt(np.ascontiguousarray(~side), anisotropy=spacing, black_border=False)
        for side in (inside, outside)
    )
    return np.asarray(np.where(inside, -to_outside, to_inside * outside), np.float32)


def _require_square_mm(grid: Grid) -> None:
    grid.require_mm("the loss boundary")
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > SQUARE:
        raise GeometryError(
            "the loss boundary needs axes at right angles, and this image's lean, as in a tilted CT; "
            "leave the case out, or the loss"
        )
