"""Where the frames of a DICOM segmentation lie: on the image's slices, or as an even stack of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.io.decoder import refuse_oversize
from medseg.volume import LPS_TO_RAS, Grid

__all__ = ["stacked"]

NEAR = 0.1  # voxels: DICOM writes positions with a few decimals, and the nearest voxel is beyond doubt
SAME_DIRECTION = 1e-4  # of a direction cosine, between the frames of one file
MOST_SLICES = 1 << 16
POSITION, ORIENTATION, SPACING = slice(0, 3), slice(3, 9), slice(9, 11)
THICKNESS, BETWEEN = 11, 12


def stacked(
    name: str, rows: NDArray[np.float64], size: tuple[int, int], onto: Grid
) -> tuple[Grid, NDArray[np.intp]]:
    """A grid `[column, row, slice]` that holds all frames, and the slice of each.

    `rows` are those of the decoder process, `size` is columns and rows. Frames whose pixels are pixels of the
    image get the image's slices, whatever is missing between them; others must be evenly spaced themselves,
    by SpacingBetweenSlices or else by their smallest distance. Raises GeometryError where they are not.
    """
    if not np.isfinite(rows[:, :11]).all() or (rows[:, SPACING] <= 0).any():
        raise GeometryError(
            f"{name}: a frame has no position, orientation or pixel spacing; tiled and flat ones are not read"
        )
    if np.abs(rows[:, 3:11] - rows[0, 3:11]).max() > SAME_DIRECTION:
        raise GeometryError(f"{name}: its frames differ in orientation or pixel spacing")
    directions = rows[0, ORIENTATION].reshape(2, 3) * LPS_TO_RAS.diagonal()[:3]
    between_rows, between_columns = rows[0, SPACING]
    plane = (directions * [[between_columns], [between_rows]]).T
    places = rows[:, POSITION] * LPS_TO_RAS.diagonal()[:3]
    found = _on_image(plane, places, size, onto) or _even(name, plane, places, rows)
    affine, slices = found
    refuse_oversize(2 * size[0] * size[1] * (int(slices.max()) + 1), name)
    try:
        return Grid((*size, int(slices.max()) + 1), affine), slices
    except GeometryError as problem:
        raise GeometryError(f"{name}: {problem}") from problem


def _on_image(
    plane: NDArray[np.float64], places: NDArray[np.float64], size: tuple[int, int], onto: Grid
) -> tuple[NDArray[np.float64], NDArray[np.intp]] | None:
    """Affine and slices in steps of the image's voxels, if every frame's pixels are voxels of the image."""
    steps = np.linalg.solve(onto.affine[:3, :3], plane)
    whole = np.rint(steps)
    along = np.abs(whole)
    if not (np.all(along.sum(0) == 1) and along.sum(1).max() == 1):
        return None
    drift = np.abs(steps - whole) @ (np.asarray(size) - 1)
    index = onto.to_index(places)
    near = np.rint(index)
    axis = int(along.sum(1).argmin())
    aside = np.delete(near, axis, axis=1)
    if drift.max() + np.abs(index - near).max() > NEAR or (aside != aside[0]).any():
        return None
    slices = near[:, axis] - near[:, axis].min()
    if slices.max() >= MOST_SLICES:
        return None
    matrix = np.eye(4)
    matrix[:3, :2] = whole
    matrix[:3, 2] = np.eye(3)[axis]
    matrix[:3, 3] = near[slices.argmin()]
    return onto.affine @ matrix, slices.astype(np.intp)


def _even(
    name: str, plane: NDArray[np.float64], places: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Affine and slices of an even stack; frames may be missing in it, and it may be tilted."""
    normal = np.cross(plane[:, 0], plane[:, 1])
    length = float(np.linalg.norm(normal))
    if length == 0:
        raise GeometryError(f"{name}: its frames' orientation is singular")
    heights = places @ (normal / length)
    order = heights.argsort()
    gaps = np.diff(heights[order])
    apart = gaps[gaps > 1e-3]
    smallest = [float(apart.min())] if len(apart) else []
    for step in (rows[0, BETWEEN], *smallest, rows[0, THICKNESS]):
        if not (np.isfinite(step) and step > 0) or (heights.max() - heights.min()) / step > MOST_SLICES:
            continue
        slices = np.rint((heights - heights.min()) / step)
        last = int(slices.max())
        first_place, last_place = places[order[0]], places[order[-1]]
        move = (last_place - first_place) / last if last else normal / length * step
        off = np.abs(first_place + slices[:, None] * move - places).max()
        if off <= NEAR * min(step, *np.linalg.norm(plane, axis=0)):
            affine = np.eye(4)
            affine[:3] = np.column_stack([plane, move, first_place])
            return affine, slices.astype(np.intp)
    raise GeometryError(
        f"{name}: its frames lie on no slices of the image and not evenly, "
        f"{min(smallest, default=0):.3f} to {apart.max() if len(apart) else 0:.3f} mm apart"
    )
