"""From where a DICOM mask was drawn to where the image's slices were put, if a policy moved them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medseg.io.masks.layers import Tell
from medseg.volume import LPS_TO_RAS, Grid, Volume

__all__ = ["Follow", "following"]

Follow = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Moves points `[n, 3]`, LPS mm."""

MOVED = 0.1  # of a slice; less is what uneven decimals leave


def following(onto: Volume, tell: Tell) -> Follow:
    """How points follow the slices that they were drawn on.

    Not at all, unless unevenly spaced slices were read as evenly spaced ones (`--gaps allow`). Points between
    slices move in proportion.
    """
    source = onto.source
    if source is None or not source.format.startswith("DICOM") or not isinstance(source.native, Grid):
        return _stay
    places = [header.get("ImagePositionPatient") for header in source.headers]
    known = [place for place in places if isinstance(place, list) and len(place) == 3]
    if len(known) != source.native.shape[2] or len(known) < 2:
        return _stay
    drawn = np.array(known, np.float64)
    index = np.zeros((len(drawn), 3))
    index[:, 2] = np.arange(len(drawn))
    shifts = source.native.to_world(index) * LPS_TO_RAS.diagonal()[:3] - drawn
    if np.linalg.norm(shifts, axis=1).max() <= MOVED * source.native.spacing[2]:
        return _stay
    tell("the image's slices were read as evenly spaced: labels follow the slices they were drawn on")
    columns, rows = (source.native.affine[:3, axis] * LPS_TO_RAS.diagonal()[:3] for axis in (0, 1))
    normal = np.cross(columns, rows)
    normal *= np.sign(normal @ (drawn[-1] - drawn[0]))
    heights = drawn @ normal

    def follow(points: NDArray[np.float64]) -> NDArray[np.float64]:
        along = points @ normal
        moved = [np.interp(along, heights, shifts[:, axis]) for axis in range(3)]
        return np.asarray(points + np.column_stack(moved), np.float64)

    return follow


def _stay(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points
