"""A DICOM segmentation on the slices of an unevenly spaced series, and from there onto the image's even grid.

Such a series is read onto an even grid (`--gaps resample`), and few of its slices lie on a slice of that. So
frames are matched with the series' own slices, and each voxel of the grid takes the labels of the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.io.masks.layers import Tell, listed
from medseg.sampling import sample
from medseg.segmentation import Segmentation
from medseg.volume import LPS_TO_RAS, Grid, Planes, Volume

__all__ = ["NOWHERE", "UnevenSlices", "uneven_slices"]

NOWHERE = -1  # the slice of a frame whose slice the image lacks

NEAR = 0.1  # voxels, as for frames on the slices of an even image
SAME_DIRECTION = 1e-4  # of a direction cosine
WIDE = 1.5  # of the usual distance of slices: from here on a slice is missing, and nobody knows what it held
POSITION, ORIENTATION, SPACING = slice(0, 3), slice(3, 9), slice(9, 11)
RAS = LPS_TO_RAS.diagonal()[:3]


@dataclass(frozen=True, eq=False)
class UnevenSlices:
    """The slices of a series, and where they lie along their common normal."""

    planes: Planes
    normal: NDArray[np.float64]
    heights: NDArray[np.float64]
    """Of each slice, RAS+ mm along the normal."""

    @property
    def usual(self) -> float:
        """The distance that most neighbours have, mm."""
        return float(np.quantile(np.diff(np.sort(self.heights)), 0.5, method="lower"))

    @property
    def stack(self) -> Grid:
        """A grid `[column, row, slice]` for a frame of each slice; its places mean nothing but the first."""
        return Grid((*self.planes.shape, len(self.heights)), self.planes.affines[0])

    def of_frames(self, rows: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.intp]:
        """The slice on which each frame lies, by the rows of the decoder process, or NOWHERE."""
        if size != self.planes.shape or not np.isfinite(rows[:, :11]).all():
            return np.full(len(rows), NOWHERE, np.intp)
        steps = self.planes.affines[0, :3, :2]
        pixel = np.linalg.norm(steps, axis=0)
        places = self.planes.affines[:, :3, 3]
        distinct, frame = np.unique(rows[:, POSITION] * RAS, axis=0, return_inverse=True)
        slices = self.heights.argsort()[self._closest(distinct @ self.normal)]
        off = distinct - places[slices]
        # along the slices a tenth of their smallest distance, within them a tenth of a pixel
        near = np.abs(off @ self.normal) <= NEAR * np.diff(np.sort(self.heights)).min()
        near &= (np.abs(off @ (steps / pixel)) <= NEAR * pixel).all(axis=1)
        frame = frame.reshape(-1)
        directions = (steps / pixel * RAS[:, None]).T.ravel()
        there = near[frame] & (np.abs(rows[:, ORIENTATION] - directions).max(axis=1) <= SAME_DIRECTION)
        there &= (np.abs(rows[:, SPACING] - pixel[::-1]) * max(size) <= NEAR * pixel.min()).all(axis=1)
        return np.where(there, slices[frame], NOWHERE)

    def onto(self, found: Segmentation, grid: Grid, name: str, tell: Tell) -> Segmentation:
        """Labels on `stack`, one frame a slice, at the voxels of the image's grid.

        A voxel takes the labels of the nearest slice, of none within a gap where slices are missing. Raises
        GeometryError where no labelled voxel has a place.
        """
        axis, heights = self._along(grid, name)
        nearest = self._nearest(heights)
        result = np.zeros((len(found.array), *grid.shape), found.array.dtype)
        off = 0.0
        for n in np.flatnonzero(nearest != NOWHERE).tolist():
            k = int(nearest[n])
            off = max(off, abs(float(heights[n] - self.heights[k])))
            start, stop = [0, 0, 0], list(grid.shape)
            start[axis], stop[axis] = n, n + 1
            affine = self.planes.affines[k].copy()
            affine[:3, 2] = grid.affine[:3, axis]  # of one slice, so that whole voxels are copied
            affine[:3, 3] += (heights[n] - self.heights[k]) * self.normal
            labels, here = found.array[..., k : k + 1], Grid((*self.planes.shape, 1), affine)
            target = grid.cropped(start, stop)
            part = sample(labels, here.index_map(target), target.shape, interpolation="nearest", fill=0)
            if np.count_nonzero(part) < np.count_nonzero(labels):
                raise GeometryError(f"{name}: labelled voxels lie outside the image: they would be lost")
            box = tuple(slice(low, high) for low, high in zip(start, stop, strict=True))
            result[(slice(None), *box)] = part
        moved = Segmentation(result, grid, found.labels)
        if off > NEAR * self.usual:
            tell("the image's slices are not evenly spaced: each voxel takes the labels of the nearest slice")
        self._tell_lost(found, moved, nearest, tell, name)
        return moved

    def _along(self, grid: Grid, name: str) -> tuple[int, NDArray[np.float64]]:
        """The axis of a grid along which the slices follow each other, and the heights of its own slices."""
        steps = grid.affine[:3, :3].T @ self.normal
        axis = int(np.abs(steps).argmax())
        aside = np.abs(np.delete(steps, axis)) @ (np.delete(np.asarray(grid.shape), axis) - 1)
        if aside > NEAR * self.usual:
            raise GeometryError(f"{name}: the image's voxels are turned against the slices of its series")
        index = np.zeros((grid.shape[axis], 3))
        index[:, axis] = np.arange(grid.shape[axis])
        return axis, grid.to_world(index) @ self.normal

    def _nearest(self, heights: NDArray[np.float64]) -> NDArray[np.intp]:
        """The slice nearest to each height; NOWHERE beyond the ends, and where slices are missing."""
        order = self.heights.argsort()
        lying = self.heights[order]
        gaps = np.diff(lying)
        reach = np.where(gaps >= WIDE * self.usual, self.usual, gaps) / 2
        down, up = np.insert(reach, 0, self.usual / 2), np.append(reach, self.usual / 2)
        nearest = self._closest(heights)
        off = heights - lying[nearest]
        rounding = 1e-3 * self.usual
        inside = (off <= up[nearest] + rounding) & (-off <= down[nearest] + rounding)
        return np.where(inside, order[nearest], NOWHERE)

    def _closest(self, heights: NDArray[np.float64]) -> NDArray[np.intp]:
        """Which slice, counted from the lowest, is the closest to each height."""
        lying = np.sort(self.heights)
        return np.searchsorted((lying[1:] + lying[:-1]) / 2, heights)

    def _tell_lost(
        self, found: Segmentation, moved: Segmentation, nearest: NDArray[np.intp], tell: Tell, name: str
    ) -> None:
        """Say which labels lie on slices that no voxel is nearest to; refuse where none has a place."""
        unused = np.setdiff1d(np.arange(len(self.heights)), nearest)
        count = sum(int(np.count_nonzero(found.array[..., k].any(axis=0))) for k in unused.tolist())
        if found.array.any() and not moved.array.any():
            raise GeometryError(f"{name}: none of its labelled voxels lies in the image")
        if not count:
            return
        tell(f"{count} labelled voxels on slices to which no voxel is nearest are left out")
        lost = _values(found) - _values(moved)
        gone = [label.name for label in found.labels if (label.layer, label.value) in lost]
        if gone:
            tell(f"no voxel is left of {listed(gone)}")


def uneven_slices(image: Volume) -> UnevenSlices | None:
    """The slices of the series that an image was read from, if no even grid holds them."""
    native = None if image.source is None else image.source.native
    if not isinstance(native, Planes) or len(native.affines) < 2:
        return None
    normal = native.affines[0, :3, 2] / np.linalg.norm(native.affines[0, :3, 2])
    return UnevenSlices(native, normal, native.affines[:, :3, 3] @ normal)


def _values(segmentation: Segmentation) -> set[tuple[int, int]]:
    """Layer and value of all labels with voxels; slice by slice, as counting takes eight bytes a voxel."""
    return {
        (layer, int(value))
        for layer, array in enumerate(segmentation.array)
        for k in range(array.shape[2])
        for value in np.flatnonzero(np.bincount(array[..., k].ravel()))
    }
