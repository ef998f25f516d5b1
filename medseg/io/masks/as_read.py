"""From where a DICOM mask was drawn to where the image's slices were put, if a policy moved them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medseg.io.masks.layers import Tell
from medseg.volume import LPS_TO_RAS, Grid, Volume

__all__ = ["Follow", "between_slices", "following"]

Follow = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Moves points `[n, 3]`, LPS mm."""

MOVED = 0.1  # of a slice; less is what uneven decimals leave
BETWEEN = 0.6  # of the smallest distance of slices: a frame further from each lies on one that is not there


def following(onto: Volume, tell: Tell) -> Follow:
    """How points follow the slices that they were drawn on.

    Not at all, unless unevenly spaced slices were read as evenly spaced ones (`--gaps allow`). Points between
    slices move in proportion.
    """
    known = _moved(onto)
    if known is None:
        return _stay
    grid, drawn, shifts = known
    tell("the image's slices were read as evenly spaced: labels follow the slices they were drawn on")
    normal = _normal(grid, drawn)
    heights = drawn @ normal

    def follow(points: NDArray[np.float64]) -> NDArray[np.float64]:
        along = points @ normal
        moved = [np.interp(along, heights, shifts[:, axis]) for axis in range(3)]
        return np.asarray(points + np.column_stack(moved), np.float64)

    return follow


def between_slices(onto: Volume, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points `[n, 3]`, LPS mm, lie in a gap between the image's slices, on a slice that it lacks.

    None, unless unevenly spaced slices were read as evenly spaced ones: else there are voxels in the gap.
    """
    known = _moved(onto)
    if known is None:
        return np.zeros(len(points), bool)
    grid, drawn, _ = known
    normal = _normal(grid, drawn)
    heights, along = np.sort(drawn @ normal), points @ normal
    inner = (along > heights[0]) & (along < heights[-1])
    above = np.searchsorted(heights, along).clip(1, len(heights) - 1)
    nearest = np.minimum(along - heights[above - 1], heights[above] - along)
    return np.asarray(inner & (nearest > BETWEEN * np.diff(heights).min()), bool)


def _moved(onto: Volume) -> tuple[Grid, NDArray[np.float64], NDArray[np.float64]] | None:
    """The image's own grid, where its slices were drawn and how far they were moved (LPS mm); None if not."""
    source = onto.source
    if source is None or not source.format.startswith("DICOM") or not isinstance(source.native, Grid):
        return None
    places = [header.get("ImagePositionPatient") for header in source.headers]
    known = [place for place in places if isinstance(place, list) and len(place) == 3]
    if len(known) != source.native.shape[2] or len(known) < 2:
        return None
    drawn = np.array(known, np.float64)
    index = np.zeros((len(drawn), 3))
    index[:, 2] = np.arange(len(drawn))
    shifts = source.native.to_world(index) * LPS_TO_RAS.diagonal()[:3] - drawn
    if np.linalg.norm(shifts, axis=1).max() <= MOVED * source.native.spacing[2]:
        return None
    return source.native, drawn, shifts


def _normal(grid: Grid, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The unit normal of the slices, LPS, from the first to the last."""
    columns, rows = (grid.affine[:3, axis] * LPS_TO_RAS.diagonal()[:3] for axis in (0, 1))
    normal = np.cross(columns, rows)
    normal *= np.sign(normal @ (drawn[-1] - drawn[0])) / np.linalg.norm(normal)
    return np.asarray(normal, np.float64)


def _stay(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points
