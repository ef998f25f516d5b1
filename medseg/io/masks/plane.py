"""Closed contours of one region in one plane: which are the same, which are holes, which pixels they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.masks.polygons import inside

__all__ = ["combined", "distinct", "exclusive"]

SAME_MM = 0.01  # between points of contours that are the same: what two decimals of a millimetre leave
SAMPLES = 24  # along each side of a contour's box, to see how much of it lies in another
MARGIN = 0.05  # of a contour's area: up to here beyond another, or in it, is drawing along a common border
CLEAR = 64  # pixels of a contour that say the same as samples
MOST_PAIRS = 20_000  # contours in one plane whose boxes overlap; 3000 holes in a body are 3000


@dataclass(frozen=True, eq=False)
class _Polygon:
    points: NDArray[np.float64]
    box: NDArray[np.float64]
    """Lowest and highest coordinates `[2, 2]`."""
    corner: NDArray[np.intp]
    mask: NDArray[np.bool_]
    """Pixels from `corner` on."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Where `mask` lies in the picture."""
        (a, b), (m, n) = self.corner, self.mask.shape
        return slice(a, a + m), slice(b, b + n)


# ------------------------------------------------------------------ stored twice
def distinct(contours: Sequence[NDArray[np.float64]]) -> list[int]:
    """Which contours `[n, 3]` in mm to keep, in order: of the same ones the first.

    Same are those of equal points, to `SAME_MM`, whatever the start, the direction, and points repeated.
    """
    bare = [_bare(points) for points in contours]
    kept = np.ones(len(bare), bool)
    lengths = np.array([len(points) for points in bare])
    middles = np.array([points.mean(axis=0) for points in bare]).reshape(-1, 3)
    for number in range(1, len(bare)):
        alike = kept[:number] & (lengths[:number] == lengths[number])
        alike &= (np.abs(middles[:number] - middles[number]) <= SAME_MM).all(axis=1)
        kept[number] = not any(_same(bare[other], bare[number]) for other in np.flatnonzero(alike))
    return np.flatnonzero(kept).tolist()


def _bare(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without points that repeat the one before, the first one behind the last included."""
    repeats = np.all(points == np.roll(points, 1, axis=0), axis=1)
    return points[:1] if repeats.all() else points[~repeats]


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    for turned in (other, other[::-1]):
        for start in np.flatnonzero((np.abs(turned - one[0]) <= SAME_MM).all(axis=1)):
            if (np.abs(np.roll(turned, -start, axis=0) - one) <= SAME_MM).all():
                return True
    return False


# ------------------------------------------------------------------ pixels
def exclusive(
    contours: Sequence[NDArray[np.float64]], shape: tuple[int, int], name: str
) -> NDArray[np.bool_]:
    """Pixels in an odd number of contours `[n, 2]`: what CLOSEDPLANAR_XOR means (DICOM PS3.3 C.8.8.6.3)."""
    canvas = np.zeros(shape, bool)
    for contour in contours:
        polygon = _polygon(contour, shape, name)
        canvas[polygon.window] ^= polygon.mask
    return canvas


def combined(
    contours: Sequence[NDArray[np.float64]], shape: tuple[int, int], name: str
) -> tuple[NDArray[np.bool_], bool]:
    """Pixels of CLOSED_PLANAR contours `[n, 2]` together, and whether any two cross.

    The standard has holes by keyhole only, and says nothing on several contours in a plane. Planning systems
    nest them: a contour within another is a hole, one within the hole an island. Contours that cross, neither
    within the other, are drawn over each other: their parts are united, and what lies in them lies in one.
    """
    polygons = sorted((_polygon(points, shape, name) for points in contours), key=_size, reverse=True)
    group = list(range(len(polygons)))
    around: list[list[int]] = [[] for _ in polygons]
    crossing = False
    for outer, inner in _overlapping(polygons, name):
        part = _part_inside(polygons[inner], polygons[outer], name)
        if part >= 1 - MARGIN:
            around[inner].append(outer)
        elif part > MARGIN:
            crossing = True
            old, new = group[inner], group[outer]
            group = [new if one == old else one for one in group]
    canvas = np.zeros(shape, bool)
    for number, polygon in enumerate(polygons):  # the larger first, so that holes are cut into what is there
        depth = len({group[outer] for outer in around[number]} - {group[number]})
        if depth % 2:
            canvas[polygon.window] &= ~polygon.mask
        else:
            canvas[polygon.window] |= polygon.mask
    return canvas, crossing


def _polygon(points: NDArray[np.float64], shape: tuple[int, int], name: str) -> _Polygon:
    box = np.stack([points.min(axis=0), points.max(axis=0)])
    last = np.asarray(shape) - 1
    corner = np.clip(np.floor(box[0]), 0, last).astype(np.intp)
    end = np.clip(np.ceil(box[1]), corner, last).astype(np.intp) + 1
    size = (int(end[0] - corner[0]), int(end[1] - corner[1]))
    return _Polygon(points, box, corner, inside(points - corner, size, name))


def _size(polygon: _Polygon) -> tuple[float, float]:
    """What orders contours so that none lies within a later one."""
    x, y = (polygon.points - polygon.box[0]).T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
    return float(np.prod(polygon.box[1] - polygon.box[0])), area


def _overlapping(polygons: Sequence[_Polygon], name: str) -> list[tuple[int, int]]:
    """Pairs of a contour and a later one whose boxes overlap."""
    boxes = np.array([polygon.box for polygon in polygons]).reshape(-1, 2, 2)
    pairs: list[tuple[int, int]] = []
    for inner in range(1, len(boxes)):
        apart = (boxes[:inner, 0] > boxes[inner, 1]) | (boxes[:inner, 1] < boxes[inner, 0])
        pairs += [(int(outer), inner) for outer in np.flatnonzero(~apart.any(axis=1))]
        if len(pairs) > MOST_PAIRS:
            raise InputError(f"{name}: more than {MOST_PAIRS} contours lie over others in one plane; damaged")
    return pairs


def _part_inside(inner: _Polygon, outer: _Polygon, name: str) -> float:
    """How much of a contour's area lies in another: by pixels where they are clear, else by finer samples."""
    count = int(inner.mask.sum())
    if count >= CLEAR:
        common = _common(inner, outer)
        if common in (0, count):
            return common / count
    step = np.maximum(inner.box[1] - inner.box[0], 1e-9) / (SAMPLES - 1)
    here, there = (
        inside((polygon.points - inner.box[0]) / step, (SAMPLES, SAMPLES), name) for polygon in (inner, outer)
    )
    return float((here & there).sum() / max(1, here.sum()))


def _common(one: _Polygon, other: _Polygon) -> int:
    """How many pixels two contours share."""
    start = np.maximum(one.corner, other.corner)
    end = np.minimum(one.corner + one.mask.shape, other.corner + other.mask.shape)
    if (end <= start).any():
        return 0
    (a, b), (c, d) = start - one.corner, start - other.corner
    m, n = end - start
    return int((one.mask[a : a + m, b : b + n] & other.mask[c : c + m, d : d + n]).sum())
