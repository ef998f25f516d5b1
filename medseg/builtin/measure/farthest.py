"""The longest diameters of a mask: in one slice with what stands upright on it, and in space.

A diameter runs between the middles of the outer faces of voxels, where the edge lies on average: a row of n
voxels is n spacings long. All is exact: the farthest two points are corners of the convex hull.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from medseg.volume import Grid

__all__ = ["Chord", "InSlice", "farthest_in_slice", "feret_diameter", "slicing_axis"]

DIRECTIONS = 16  # over half a turn: the widest of the widths bounds the diameter to 0.5 %
FEW = 64  # points, of which all pairs are looked at rather than a hull made first
CHUNK_PAIRS = 1 << 20
ROUNDS = 8  # of going from a point to the farthest from it; it hardly ever takes more than three
TIE = 1e-9  # mm; the first of equally long slices is meant, whatever rounding says
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Chord:
    """A straight line through a mask: its length and its ends in RAS+ coordinates."""

    length: float
    ends: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class InSlice:
    """The longest diameter within one slice, the longest chord at a right angle to it, and the slice."""

    longest: Chord
    perpendicular: Chord
    slice: int


@lru_cache(maxsize=8)
def slicing_axis(grid: Grid) -> int:
    """The axis along which axial slices follow each other; in an image of one slice, along that one."""
    for axis in (2, 1, 0):
        if grid.shape[axis] == 1:
            return axis
    return 2 if grid.unit == "px" else next(n for n, code in enumerate(grid.axis_codes) if code in "SI")


def farthest_in_slice(mask: NDArray[np.bool_], grid: Grid, axis: int) -> InSlice:
    """The slice across `axis` with the longest diameter of `mask[i, j, k]`, which is not empty.

    In the grid's unit, within the plane of the slice, on its convex hull. The first of equal slices.
    """
    others = [n for n in range(3) if n != axis]
    plane = grid.affine[:3, others]
    basis, steps = np.linalg.qr(plane)  # of the plane's points, and of voxels in them
    stack = np.moveaxis(mask, axis, 0)
    filled, first, last = _row_ends(stack)
    bounds = _widest(filled, first, last, steps)
    best, longest = -1, 0.0
    for at in np.argsort(-bounds, kind="stable").tolist():
        if bounds[at] < longest - TIE:
            break
        length = _longest(_outline(filled[at], first[at], last[at], steps))[0]
        if length > longest + TIE or (length > longest - TIE and at < best):
            best, longest = at, max(length, longest)
    outline = _outline(filled[best], first[best], last[best], steps)
    _, one, other = _longest(outline)
    upright = _upright(outline, one, other)
    offset = grid.affine[:3, 3] + best * grid.affine[:3, axis]
    return InSlice(_chord((one, other), basis, offset), _chord(upright, basis, offset), best)


def _chord(ends: tuple[Points, Points], basis: Points, offset: Points) -> Chord:
    placed = [basis @ end + offset for end in ends]
    (a, b, c), (d, e, f) = (tuple(float(v) for v in place) for place in placed)
    return Chord(float(np.linalg.norm(ends[1] - ends[0])), ((a, b, c), (d, e, f)))


def _row_ends(stack: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
    """Which rows `[s, a]` of `stack[s, a, b]` hold anything, and the first and last b in them."""
    stack = np.ascontiguousarray(stack)  # once, which each of the next lines would do for itself
    first = stack.argmax(axis=2)
    last = stack.shape[2] - 1 - stack[:, :, ::-1].argmax(axis=2)
    return (first > 0) | stack[:, :, 0], first, last


def _widest(
    filled: NDArray[np.bool_], first: NDArray[np.intp], last: NDArray[np.intp], steps: Points
) -> NDArray[np.float64]:
    """For each slice a bound that no diameter passes: its largest width, made larger for what lies between.

    A diameter is at most half a step between two directions away from the nearest, along which its width is
    shorter by the cosine.
    """
    slices, rows = np.nonzero(filled)
    starts = np.flatnonzero(np.diff(slices, prepend=-1))  # of each slice that holds anything, in order
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ steps
    low, high = along @ np.stack([rows, first[slices, rows]]), along @ np.stack([rows, last[slices, rows]])
    low, high = np.minimum(low, high), np.maximum(low, high)
    widths = np.maximum.reduceat(high, starts, axis=1) - np.minimum.reduceat(low, starts, axis=1)
    widest = (widths + np.abs(along).max(axis=1, keepdims=True)).max(axis=0)
    bounds = np.full(len(filled), -1.0)
    bounds[slices[starts]] = widest / np.cos(np.pi / 2 / DIRECTIONS)
    return bounds


def _outline(
    filled: NDArray[np.bool_], first: NDArray[np.intp], last: NDArray[np.intp], steps: Points
) -> Points:
    """The middles `[n, 2]` of the outer faces of one slice's outermost voxels, in its plane."""
    rows = np.flatnonzero(filled)
    centres = np.concatenate([np.stack([rows, side[rows]], axis=1) for side in (first, last)])
    centres = centres @ steps.T
    return np.concatenate([centres + half for half in (*(steps.T / 2), *(-steps.T / 2))])


def _hull(points: Points) -> Points:
    """The corners of the points' hull; all points where they are few, or lie in a line or a plane."""
    if len(points) <= FEW:
        return points
    from scipy.spatial import ConvexHull, QhullError

    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return points


def _longest(points: Points) -> tuple[float, Points, Points]:
    """The largest distance between two of the points `[n, 2]`, and these two."""
    points, middle = _far_out(points)
    squares = ((points[:, None] - points) ** 2).sum(axis=-1)
    one, other = divmod(int(squares.argmax()), len(points))
    return float(np.sqrt(squares[one, other])), points[one] + middle, points[other] + middle


def _upright(points: Points, start: Points, stop: Points) -> tuple[Points, Points]:
    """The ends of the longest chord of the points' hull at a right angle to the line from start to stop.

    The length of such chords changes evenly between corners of the hull, so that it is largest at one.
    """
    from scipy.spatial import ConvexHull

    along = (stop - start) / np.linalg.norm(stop - start)
    turned = np.stack([along, [-along[1], along[0]]])
    ring = points[ConvexHull(points).vertices] @ turned.T
    after = np.roll(ring, -1, axis=0)
    at = ring[:, :1]
    run = after[:, 0] - ring[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (at - ring[:, 0]) / run
        height = ring[:, 1] + share * (after[:, 1] - ring[:, 1])
    met = (share >= 0) & (share <= 1) & (run != 0)
    own = ring[:, 1]
    low = np.minimum(np.where(met, height, np.inf).min(axis=1), own)
    high = np.maximum(np.where(met, height, -np.inf).max(axis=1), own)
    best = int((high - low).argmax())
    ends = [np.array([ring[best, 0], side[best]]) @ turned for side in (low, high)]
    return ends[0], ends[1]


def feret_diameter(mask: NDArray[np.bool_], grid: Grid) -> float:
    """The largest distance in space between two points of `mask[i, j, k]`, which is not empty.

    In the grid's unit, between the middles of outer faces of voxels.
    """
    steps = grid.affine[:3, :3].T
    centres = _corners(mask) @ steps
    half = float(np.linalg.norm(steps, axis=1).max()) / 2
    centres, _ = _far_out(centres, reach=half)
    points = np.concatenate([centres + half for half in (*(steps / 2), *(-steps / 2))])
    points = _hull(_far_out(points)[0])
    squares = (points**2).sum(axis=1)
    chunk = max(1, CHUNK_PAIRS // len(points))
    farthest = 0.0
    for start in range(0, len(points), chunk):
        part = slice(start, start + chunk)
        apart = squares[part, None] + squares - 2 * points[part] @ points.T
        farthest = max(farthest, float(apart.max()))
    return float(np.sqrt(farthest))


def _far_out(points: Points, *, reach: float = 0.0) -> tuple[Points, Points]:
    """The points that may be one of the farthest two, from the middle between two far apart, and that.

    If all lie within R of the middle, none of a pair that is L apart lies nearer to it than L - R. Where each
    stands for others, around all alike and up to `reach` away, both ends of a pair may lie that much farther
    out, and L is still no less than between two of the points themselves.
    """
    one = points[((points - points.mean(axis=0)) ** 2).sum(axis=1).argmax()]
    other, apart = one, 0.0
    for _ in range(ROUNDS):
        squares = ((points - one) ** 2).sum(axis=1)
        at = int(squares.argmax())
        if squares[at] <= apart:
            break
        other, one, apart = one, points[at], float(squares[at])
    middle = (one + other) / 2
    points = points - middle
    away = np.linalg.norm(points, axis=1)
    return points[away >= np.sqrt(apart) - away.max() - 2 * reach - TIE], middle


def _corners(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indices `[n, 3]` of voxels among which all corners of the mask's convex hull are.

    A corner ends its row, and is never half-way between two voxels of the mask. Rows are those that lie one
    voxel after the other in memory.
    """
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:
        return _corners(mask.T)[:, ::-1]
    filled, first, last = _row_ends(mask)
    i, j = np.nonzero(filled)
    shape = tuple(n + 2 for n in mask.shape)
    around = np.zeros(shape, np.bool_)
    around[1:-1, 1:-1, 1:-1] = mask
    flat = around.reshape(-1)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    rows = (np.stack([i, j], axis=1) + 1) @ strides[:2]
    found = np.concatenate([rows + side[i, j] + 1 for side in (first, last)])
    for step in product((-1, 0, 1), repeat=3):
        if step > (0, 0, 0):
            beside = int(np.dot(step, strides))
            found = found[~(flat[found - beside] & flat[found + beside])]
    return np.stack(np.unravel_index(found, shape), axis=1) - 1
