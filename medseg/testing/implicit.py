"""Shapes as functions: negative inside, positive outside, zero on the surface, roughly in millimetres.

Only +, -, *, / and square roots: they round alike on every machine, so that a phantom is the same everywhere.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FAR",
    "Field",
    "Points",
    "ellipsoid",
    "minus",
    "smooth_step",
    "smooth_union",
    "superellipse",
    "tube",
]

Field = NDArray[np.floating[Any]]  # float32 throughout
FAR = 12.0  # mm; tubes say no more than this, so that they are worked out near their axes only
TINY = 1e-6


class Points(NamedTuple):
    """Positions of arrays of one shape: x, y, z in mm towards right, front and head."""

    x: Field
    y: Field
    z: Field

    def moved(self, x: Any = 0.0, y: Any = 0.0, z: Any = 0.0) -> "Points":
        """The same places seen from another origin, which may vary from place to place (a shear)."""
        return Points(self.x - x, self.y - y, self.z - z)


def ellipsoid(p: Points, centre: Sequence[float], radii: Sequence[float]) -> Field:
    """About the distance from an ellipsoid with half-axes along x, y, z."""
    u, v, w = (
        (axis - float(c)) / float(r) for axis, c, r in zip((p.x, p.y, p.z), centre, radii, strict=True)
    )
    level = np.sqrt(u * u + v * v + w * w)
    u, v, w = (axis / float(r) for axis, r in zip((u, v, w), radii, strict=True))
    slope = np.sqrt(u * u + v * v + w * w)
    distance: Field = level * (level - 1.0) / (slope + TINY)
    return distance


def superellipse(x: Field, y: Field, half_x: Any, half_y: tuple[float, float] | float) -> Field:
    """About the distance from |x/a|^2.5 + |y/b|^2.5 = 1, an ellipse with flattened sides.

    `half_y` may differ between back (y < 0) and front.
    """
    back, front = half_y if isinstance(half_y, tuple) else (half_y, half_y)
    u, v = np.abs(x / half_x), np.maximum(y / front, y / -back)
    level = u * u * np.sqrt(u) + v * v * np.sqrt(v)
    distance: Field = (level - 1.0) * (0.4 * min(back, front))
    return distance


def smooth_union(first: Field, second: Field, blend_mm: float) -> Field:
    """Both shapes, with the crease between them filled over `blend_mm`."""
    share = np.clip(0.5 + (second - first) * (0.5 / blend_mm), 0.0, 1.0)
    return second + (first - second) * share - share * (1.0 - share) * blend_mm


def minus(first: Field, second: Field, blend_mm: float) -> Field:
    """The first shape without the second, the new edge rounded over `blend_mm`."""
    return -smooth_union(-first, second, blend_mm)


def smooth_step(value: Any, low: float, high: float) -> Any:
    """0 up to `low`, 1 from `high` on, and a cubic between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def tube(p: Points, path: NDArray[np.float64]) -> Field:
    """Distance from a tube through `path[n, 4]` (x, y, z, radius in mm), at most FAR."""
    nearest: Field = np.full(p.x.shape, FAR, np.float32)
    for start, end in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
        window = _window(p, start, end)
        if window is None:
            continue
        local = Points(p.x[window], p.y[window], p.z[window])
        nearest[window] = np.minimum(nearest[window], _capsule(local, start, end))
    return nearest


def _capsule(p: Points, start: Sequence[float], end: Sequence[float]) -> Field:
    """Distance from a straight piece of tube with round ends and a radius that changes evenly."""
    along = [b - a for a, b in zip(start, end, strict=True)]
    length2 = along[0] ** 2 + along[1] ** 2 + along[2] ** 2 + TINY
    x, y, z = p.x - start[0], p.y - start[1], p.z - start[2]
    t = np.clip((x * along[0] + y * along[1] + z * along[2]) / length2, 0.0, 1.0)
    x, y, z = x - t * along[0], y - t * along[1], z - t * along[2]
    distance: Field = np.sqrt(x * x + y * y + z * z) - (start[3] + t * along[3])
    return distance


def _window(p: Points, start: Sequence[float], end: Sequence[float]) -> tuple[slice, ...] | None:
    """The part of the array that holds all points within FAR of the piece, or None."""
    reach = max(start[3], end[3]) + FAR
    near = np.ones(p.x.shape, bool)
    for place, a, b in zip(p, start, end, strict=False):
        near &= (place > min(a, b) - reach) & (place < max(a, b) + reach)
    window = []
    for axis in range(near.ndim):
        others = tuple(other for other in range(near.ndim) if other != axis)
        where = np.flatnonzero(near.any(axis=others))
        if not len(where):
            return None
        window.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(window)
