"""The postprocessor `fill-holes`."""

import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.connected_parts import connected_parts
from medseg.builtin.postprocess.repaint import repaint
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

__all__ = ["FillHoles", "without_cavities"]

NUMBERED_BYTES = 6  # a voxel, measured: 17 in all


class FillHoles(Postprocessor):
    """Fill cavities enclosed by a label, in space or slice by slice.

    A threshold or a network leaves vessels, calcifications and noise out of an organ's inside. A cavity is
    a part of the outside that cannot reach the border of the image through voxel faces. Only background is
    filled: a tumour labelled inside a liver stays a tumour, and background between the two becomes liver.
    What is open at the border of the image is no cavity; slice by slice, a tube that runs through the
    slices is filled too.
    """

    takes_objects: ClassVar[bool] = False

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    mode: Literal["3d", "slice"] = "3d"
    """Cavities closed in all directions, or within each slice.

    Slices lie across the axis of the coarsest spacing; of equally coarse ones, across that along the body. An
    image of one slice is filled within it.
    """

    max_ml: float | None = Field(default=None, gt=0)
    """Larger cavities are left open, in mL; null for no limit. Other labels inside count as cavity."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """What masks take, and where cavities are measured the numbers of all of them beside."""
        more = 0 if self.max_ml is None else NUMBERED_BYTES * math.prod(segmentation.grid.shape)
        return super().work_bytes(segmentation, volume) + more

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with cavities filled."""
        flat = 1 in segmentation.grid.shape
        across = _slice_axis(segmentation.grid) if flat or self.mode == "slice" else None
        # a millionth is rounding of the affine: a cavity of exactly the limit is filled
        most = None if self.max_ml is None else self.max_ml / segmentation.grid.voxel_ml * (1 + 1e-6)

        def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
            solid = _filled(mask, across)
            if most is None:
                return solid
            numbers, sizes = connected_parts(solid & ~mask, 6)
            small = sizes <= most
            small[0] = False
            return np.asarray(mask | small[numbers], bool)

        return repaint(segmentation, self.labels, filled)


def _slice_axis(grid: Grid) -> int:
    """The axis across which slices lie: the coarsest, and of equally coarse ones that along the body."""
    if 1 in grid.shape:
        return grid.shape.index(1)
    spacing = np.asarray(grid.spacing)
    coarsest = [int(axis) for axis in np.flatnonzero(spacing >= spacing.max() * (1 - 1e-3))]
    along_body = [axis for axis in coarsest if grid.axis_codes[axis] in "IS"]
    return (along_body or coarsest[-1:])[0]


def _filled(mask: NDArray[np.bool_], across: int | None) -> NDArray[np.bool_]:
    """The mask with its cavities filled, in space or in each slice across an axis."""
    if across is None:
        return without_cavities(mask)
    slices = [without_cavities(plane) for plane in np.moveaxis(mask, across, 0)]
    return np.moveaxis(np.asarray(slices), 0, across)


def without_cavities(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of two or three axes with its cavities filled."""
    import fill_voids

    # fill_voids 2.1 fills some voxels that are open at the border of the array; inside a frame it does not
    solid = fill_voids.fill(np.pad(mask, 1))
    return np.asarray(solid[(slice(1, -1),) * mask.ndim], bool)
