"""The augmentation `flip`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PrivateAttr

from medseg.errors import PipelineError, UsageError
from medseg.segmentation import LabelTable
from medseg.steps import SpatialAugmentation

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Flip"]

AxisName = Literal["left-right", "anterior-posterior", "superior-inferior"]
ENDS: dict[AxisName, str] = {"left-right": "LR", "anterior-posterior": "AP", "superior-inferior": "SI"}


class Flip(SpatialAugmentation):
    """Mirror the patch, along each axis with a chance of one half.

    Left and right are not exchanged where a label names a side, such as left kidney: in a mirrored image it
    looks like the right one, and the network would learn to guess.
    """

    probability: float = Field(default=1.0, ge=0, le=1)
    """Share of samples in which each axis is mirrored or not; the others are left alone."""

    axes: Annotated[tuple[AxisName, ...], Field(min_length=1, max_length=3)] | None = None
    """Axes: left-right, anterior-posterior, superior-inferior; null for all that the patch has and the
    labels allow."""

    _axes: tuple[int, ...] | None = PrivateAttr(None)

    def bound(self, *, labels: LabelTable, axes: str) -> Self:
        """Find the axes of the patch that may be mirrored; refuse left-right if a label names a side."""
        if self.axes is None:
            names = [name for name in ENDS if name != "left-right" or labels.one_sided() is None]
        else:
            names = list(self.axes)
            self._check(names, axes, labels)
        bound = self.model_copy()
        bound._axes = tuple(axis for axis, end in enumerate(axes) if any(end in ENDS[name] for name in names))
        return bound

    def _check(self, names: list[AxisName], axes: str, labels: LabelTable) -> None:
        for name in names:
            if names.count(name) > 1:
                raise PipelineError(f"axes: {name} is named twice")
            if not set(ENDS[name]) & set(axes):
                raise PipelineError(f"axes: the patch, whose axes run to {axes}, has none called {name}")
        sides, sided = labels.sides(), labels.one_sided()
        if "left-right" in names and sides is not None:
            raise PipelineError(
                f"axes: left-right cannot be mirrored with the pair {sides[0]!r} and {sides[1]!r}: "
                "in a mirrored image the one looks like the other; leave left-right out"
            )
        if "left-right" in names and sided is not None:
            raise PipelineError(
                f"axes: left-right cannot be mirrored with {sided!r}: in a mirrored image it looks like that "
                "of the other side; leave left-right out"
            )

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Change the sign of the chosen axes, which is exact: a patch's voxels change places."""
        if self._axes is None:
            raise UsageError("flip is used after bound(labels=…, axes=…), which tells it the patch's axes")
        signs = [1.0] * len(points)
        for axis in self._axes:
            # Drawn for every axis, there or not, so that a 2-D patch uses up as many numbers as a 3-D one.
            turned = rng.random() < 0.5
            if turned and axis < len(points):
                signs[axis] = -1.0
        return points * points.new_tensor(signs).reshape(-1, *(1,) * (points.ndim - 1))
