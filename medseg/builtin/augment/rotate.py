"""The augmentation `rotate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field

from medseg.errors import PipelineError
from medseg.segmentation import LabelTable
from medseg.steps import SpatialAugmentation

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["Rotate"]

PatchAxis = Literal["i", "j", "k"]
PLANES: dict[PatchAxis, tuple[int, int]] = {"i": (1, 2), "j": (2, 0), "k": (0, 1)}


class Rotate(SpatialAugmentation):
    """Turn the patch about its centre by random angles.

    It turns in mm, so that nothing is sheared where voxels are not cubes. Where slices are thick, turn within
    them only, with `about: [k]` if k runs across the slices: no voxel is then made of several slices.
    """

    degrees: float = Field(default=30, ge=0, le=180)
    """Largest angle about each axis, either way; each is drawn evenly up to it."""

    about: Annotated[tuple[PatchAxis, ...], Field(min_length=1, max_length=3)] = ("i", "j", "k")
    """Axes of the patch about which it is turned, one after the other; a 2-D patch turns in its plane."""

    def bound(self, *, labels: LabelTable, axes: str) -> Self:
        """Refuse axes that a 2-D patch cannot be turned about."""
        if len(axes) == 2 and "k" not in self.about:
            raise PipelineError("about: a 2-D patch is turned in its plane, which is about k; name k too")
        return self

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Turn the points about the patch's centre."""
        if len(points) == 2:
            matrix = self._turn("k", rng)[:2, :2]
        else:
            matrix = np.eye(3)
            for name in self.about:
                matrix = self._turn(name, rng) @ matrix
        # Not a matrix product: its precision can be set, and tenths of a millimetre be lost.
        columns = points.new_tensor(matrix).T.reshape(len(points), -1, *(1,) * (points.ndim - 1))
        moved = columns[0] * points[0]
        for axis in range(1, len(points)):
            moved.addcmul_(columns[axis], points[axis])
        return moved

    def _turn(self, axis: PatchAxis, rng: np.random.Generator) -> NDArray[np.float64]:
        """A matrix `[3, 3]` that turns about one axis by a random angle."""
        angle = np.radians(rng.uniform(-self.degrees, self.degrees))
        first, second = PLANES[axis]
        matrix = np.eye(3)
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[second, first] = np.sin(angle)
        matrix[first, second] = -np.sin(angle)
        return matrix
