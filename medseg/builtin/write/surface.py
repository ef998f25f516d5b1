"""The outline of a mask as triangles, smooth and closed, with the volume of the mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.signed_distance import TRUNCATE, smoothed_distance
from medseg.extent import extent
from medseg.volume import Grid

__all__ = ["Surface", "surface_of"]

CLOSE = 1e-3  # of the volume, below which the level is not moved further
TRIES = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in RAS+ mm: `vertices[n, 3]`, and `faces[m, 3]` of them, anticlockwise from outside."""

    vertices: Floats
    faces: NDArray[np.int64]

    @property
    def volume_mm3(self) -> float:
        """What the triangles enclose, by the divergence theorem; negative where they are inside out."""
        corners = (self.vertices - self.vertices.mean(axis=0))[self.faces]
        return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)

    @property
    def area_mm2(self) -> float:
        """What the triangles add up to."""
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return float(np.linalg.norm(normals, axis=1).sum() / 2)


def surface_of(mask: NDArray[np.bool_], grid: Grid, *, sigma_mm: float) -> Surface | None:
    """The smoothed outline of `mask[i, j, k]` on its grid; None where it has no voxel.

    Marching cubes (Lewiner et al., Journal of Graphics Tools 8(2), 2003, 1-15) on the signed distance after a
    Gaussian of `sigma_mm`. The level is not 0 but the one at which the surface encloses the volume of the
    voxels: at 0, smoothing would shrink what is convex. What the image cuts off is closed by a flat face.
    Distances are exact on axes at right angles; on others they bend the smoothing, not the volume.
    """
    box = extent(mask)
    if box is None:
        return None
    sigma = [sigma_mm / step for step in grid.spacing]
    room = [math.ceil(TRUNCATE * s) + 2 for s in sigma]
    start = [part.start - n for part, n in zip(box, room, strict=True)]
    inner = mask[box]
    field = smoothed_distance(np.pad(inner, [(n, n) for n in room]), grid.spacing, sigma)
    part = grid.cropped(start, [low + n for low, n in zip(start, field.shape, strict=True)])
    wanted = float(np.count_nonzero(inner)) * grid.voxel_ml * 1000
    return _of_volume(field, part, wanted)


def _of_volume(field: NDArray[np.float32], grid: Grid, wanted: float) -> Surface:
    """The surface of the level that encloses `wanted` mm3; levels are mm, so an area says how far to go."""
    low, high = float(field.min()), float(field.max())
    level = _level_of_count(field, round(wanted / (1000 * grid.voxel_ml)))
    best, least = None, math.inf
    for _ in range(TRIES):
        surface = _level_surface(field, grid, level)
        off = surface.volume_mm3 - wanted
        if abs(off) < least:
            best, least = surface, abs(off)
        if abs(off) <= CLOSE * wanted:
            break
        low, high = (level, high) if off > 0 else (low, level)  # the higher the level, the less is enclosed
        level += off / surface.area_mm2
        if not low < level < high:
            level = (low + high) / 2
    assert best is not None
    return best


def _level_of_count(field: NDArray[np.float32], count: int) -> float:
    """A level between the `count` highest values and the rest."""
    values = np.partition(field.reshape(-1), (field.size - count - 1, field.size - count))
    return float(values[field.size - count - 1] + values[field.size - count]) / 2


def _level_surface(field: NDArray[np.float32], grid: Grid, level: float) -> Surface:
    """Where the field crosses a level, with triangles that look outwards."""
    from skimage.measure import marching_cubes

    found: tuple[Any, ...] = marching_cubes(field, level, allow_degenerate=False)
    surface = Surface(grid.to_world(found[0]), found[1].astype(np.int64))
    if surface.volume_mm3 < 0:  # which way marching cubes turns them depends on the handedness of the axes
        surface = Surface(surface.vertices, surface.faces[:, ::-1])
    return surface
