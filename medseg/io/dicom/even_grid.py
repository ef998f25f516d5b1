"""Slices with gaps, uneven distances or gantry tilt, read at the voxels of one even, upright grid.

Between slices values are linear along the normal; within a slice they are linear too, and only where a tilt
shifts slices by fractions of a pixel. A slice that lies on the new grid is copied, bit for bit. Work goes
slice by slice: nothing but the result is as large as the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.decoder import refuse_oversize
from medseg.io.dicom.stack import Stack, tolerance
from medseg.volume import LPS_TO_RAS, Grid

__all__ = ["EvenGrid", "even_grid"]

WHOLE = 1e-3  # voxels; a smaller shift within a slice is none, as in medseg.sampling
HALF = 0.5 + WHOLE  # voxels beyond the outermost centres that still belong to a slice


@dataclass(frozen=True, eq=False)
class EvenGrid:
    """An even, upright grid, and which slices each of its own slices comes from."""

    grid: Grid
    below: NDArray[np.intp]
    """For each slice of the grid, the original slice at or below it."""
    weight: NDArray[np.float64]
    """Of the next original slice, 0 to 1; 0 where the grid's slice is an original one."""
    shifts: NDArray[np.float64]
    """For each original slice, what to add to an index (i, j) of the grid to get an index of the slice."""

    def read(self, array: NDArray[Any], fill: float) -> NDArray[Any]:
        """`array[1, i, j, slice]` of the original slices at the voxels of the grid, in the same type.

        Whole numbers are rounded. Where only one of two neighbours reaches, it alone counts; beyond both
        there is `fill`.
        """
        columns, rows, slices = self.grid.shape
        refuse_oversize(columns * rows * slices * array.dtype.itemsize, "the even grid")
        result = np.full((slices, rows, columns), fill, array.dtype)
        for k in range(slices):
            values, inside = self._moved(array[0], int(self.below[k]))
            if self.weight[k] > 0:
                above, there = self._moved(array[0], int(self.below[k]) + 1)
                both = values * (1 - self.weight[k]) + above * self.weight[k]
                values = np.where(inside & there, both, np.where(inside, values, above))
                inside = inside | there
            if array.dtype.kind in "iu" and values.dtype.kind == "f":
                values = np.rint(values)
            np.copyto(result[k].T, values, where=inside, casting="unsafe")
        return result.transpose(2, 1, 0)[None]

    def _moved(self, array: NDArray[Any], index: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Original slice `index` at the grid's voxels (i, j), and which of them it reaches."""
        values, reach = array[:, :, index], []
        for axis in (0, 1):
            at = np.arange(self.grid.shape[axis]) + self.shifts[index, axis]
            last = values.shape[axis] - 1
            reach.append((at >= -HALF) & (at <= last + HALF))
            low = np.floor(at + WHOLE).astype(np.intp)
            share = float(at[0] - low[0])
            first = values.take(low.clip(0, last), axis)
            if share <= WHOLE:
                values = first
            else:
                values = first * (1 - share) + values.take((low + 1).clip(0, last), axis) * share
        return values, reach[0][:, None] & reach[1][None, :]


def even_grid(stack: Stack, *, upright: bool) -> EvenGrid:
    """Even slices over the whole height of a stack; `upright` undoes a tilt, which is overlooked else.

    Where slices are missing from a regular stack the grid has its spacing and holds every original slice.
    Else the spacing is the usual one, but for what makes the first and the last slice lie on the grid.
    """
    here = _in_even_steps(stack)
    there = np.arange(round(here[-1]) + 1)
    below = (np.searchsorted(here, there, side="right") - 1).clip(0, len(here) - 2)
    weight = (there - here[below]) / (here[below + 1] - here[below])
    height = float(stack.heights[-1] - stack.heights[0])
    near = tolerance(stack.usual) * here[-1] / height
    on_next = np.abs(here[below + 1] - there) <= near
    weight[on_next | (np.abs(here[below] - there) <= near)] = 0
    below[on_next] += 1

    shifts = np.zeros((len(stack.heights), 2))
    size, origin = stack.size, stack.positions[0]
    if upright:
        # where the first pixel of each slice lies, in pixels along i and j from that of the first slice
        along = np.linalg.lstsq(stack.in_plane.T, stack.slope(), rcond=None)[0]
        along[np.abs(along) * height <= WHOLE] = 0
        aside = (stack.heights - stack.heights[0])[:, None] * along
        low, high = aside.min(axis=0), aside.max(axis=0)
        shifts = low - aside
        more = np.ceil(high - low - WHOLE).astype(int)
        size = (size[0] + int(more[0]), size[1] + int(more[1]))
        origin = origin + low @ stack.in_plane
    affine = np.eye(4)
    affine[:3, :2] = stack.in_plane.T
    affine[:3, 2] = stack.directions[2] * height / there[-1]
    affine[:3, 3] = origin
    return EvenGrid(Grid((*size, len(there)), LPS_TO_RAS @ affine), below, weight, shifts)


def _in_even_steps(stack: Stack) -> NDArray[np.float64]:
    """Where each original slice lies, in steps of the even grid: whole numbers where slices are missing."""
    steps = stack.steps()
    if steps is not None:
        return np.concatenate([[0.0], np.cumsum(steps)])
    along = stack.heights - stack.heights[0]
    places: NDArray[np.float64] = along / along[-1] * round(along[-1] / stack.usual)
    return places
