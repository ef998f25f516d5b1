"""The preprocessor `pad`."""

from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from medseg.steps import Preprocessor
from medseg.volume import Grid, Volume

__all__ = ["Pad"]

Voxels = Annotated[int, Field(ge=1)]


class Pad(Preprocessor):
    """Add voxels around the image: a margin in mm, a minimum shape, or both.

    A network's window must fit into the image, and structures at its border need context. The margin comes
    first; then axes still short of the minimum shape are filled up on both sides, an odd voxel at the far
    end.
    """

    minimum_shape: tuple[Voxels, Voxels, Voxels] | None = None
    """Smallest number of voxels along i, j, k; the image stays in the centre. Null for none."""

    margin_mm: float = Field(default=0.0, ge=0)
    """Added on each side along each axis, in mm; rounded up to whole voxels."""

    fill: float | None = None
    """Value of the new voxels; null for the smallest of each channel, which is air on a CT."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.minimum_shape is None and self.margin_mm == 0:
            raise ValueError("pad needs minimum_shape, margin_mm or both")
        return self

    def __call__(self, volume: Volume) -> Volume:
        """Return the image with new voxels around it."""
        before, after = self._sides(volume.grid)
        if not any(before) and not any(after):
            return volume
        array = volume.array
        if self.fill is not None and not _holds(array.dtype, self.fill):
            array = array.astype(np.float32)
        axes = tuple(range(1, 4))
        fills = array.min(axis=axes) if self.fill is None else np.full(len(array), self.fill, array.dtype)
        grid = volume.grid.padded(before, after)
        padded = np.empty((len(array), *grid.shape), array.dtype)
        padded[:] = fills[:, None, None, None]
        block = tuple(slice(low, low + n) for low, n in zip(before, volume.grid.shape, strict=True))
        padded[:, *block] = array
        return volume.replace(array=padded, grid=grid)

    def foretold(self, grid: Grid) -> Grid:
        """The grid with the new voxels."""
        return grid.padded(*self._sides(grid))

    def _sides(self, grid: Grid) -> tuple[list[int], list[int]]:
        """How many voxels go before and after along i, j, k."""
        margin = [0, 0, 0]
        if self.margin_mm > 0:
            grid.require_mm("pad's margin_mm")
            # less than a thousandth of a voxel is rounding of the affine, not margin
            margin = [int(np.ceil(self.margin_mm / step - 1e-3)) for step in grid.spacing]
        shape = self.minimum_shape or (1, 1, 1)
        short = [max(0, n - (m + 2 * extra)) for n, m, extra in zip(shape, grid.shape, margin, strict=True)]
        before = [extra + missing // 2 for extra, missing in zip(margin, short, strict=True)]
        after = [extra + missing - missing // 2 for extra, missing in zip(margin, short, strict=True)]
        return before, after


def _holds(kind: np.dtype[Any], value: float) -> bool:
    """Whether an array of this type can hold the value; whole-number types hold no fraction."""
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return value.is_integer() and limits.min <= value <= limits.max
