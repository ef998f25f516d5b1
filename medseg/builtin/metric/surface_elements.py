"""Surfaces of masks as elements of known size, so that means over a surface do not depend on its direction.

Voxels sample a surface unevenly: on voxels of 1 x 1 x 5 mm, a square centimetre that lies in the plane of the
slices has 100 voxels, one that stands across them has 20. An element stands between 8 voxels of which some
are in the mask and some are not (4 in an image of one slice); its size is that of the surface which marching
cubes lays through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.metric.label_pair import LabelPair
from medseg.builtin.metric.surface import nearest_distances, surface_distances
from medseg.volume import Grid

__all__ = ["Surface", "SurfacePart", "surface_parts"]

Surface = Literal["corners", "patches", "voxels"]


@dataclass(frozen=True, eq=False)
class SurfacePart:
    """A surface in pieces: how far each is from the other, in the grid's unit, and how much it counts.

    Sizes are areas (lengths in an image of one slice) in the grid's unit, or 1 for each surface voxel.
    """

    distances: NDArray[np.float64]
    sizes: NDArray[np.float64]


def surface_parts(pair: LabelPair, surface: Surface = "corners") -> tuple[SurfacePart, SurfacePart]:
    """The prediction's surface, each piece with its distance from the reference's, and the other way round.

    `corners` has an element at each corner of voxels that the surface passes, `patches` in the middle of the
    piece of surface beside that corner; `voxels` has the surface voxels. Both masks must hold something.
    Outside the image is outside the mask.
    """
    if surface == "voxels":
        ours, theirs = surface_distances(pair)
        return SurfacePart(ours, np.ones(len(ours))), SurfacePart(theirs, np.ones(len(theirs)))
    flat = _flat_axis(pair.grid)
    sizes, middles = _elements(pair.grid.affine[:3, :3].tobytes(), flat)
    codes = [_codes(mask, flat) for mask in (pair.prediction, pair.reference)]
    borders = [(code > 0) & (code < len(sizes) - 1) for code in codes]
    places = [_places(border, pair.grid) for border in borders]
    same = borders[0] & borders[1]
    if surface == "patches":
        places = [p + middles[c[b]] for p, c, b in zip(places, codes, borders, strict=True)]
        same &= codes[0] == codes[1]
    parts = []
    for one, other in ((0, 1), (1, 0)):
        distances = nearest_distances(places[one], ~same[borders[one]], places[other])
        parts.append(SurfacePart(distances, sizes[codes[one][borders[one]]]))
    return parts[0], parts[1]


def _flat_axis(grid: Grid) -> int | None:
    """The axis across an image of one slice, along which a mask has no surface."""
    flat = [axis for axis in range(3) if grid.shape[axis] == 1]
    return flat[0] if len(flat) == 1 else None


def _codes(mask: NDArray[np.bool_], flat: int | None) -> NDArray[np.uint8]:
    """Which of the 8 (or 4) voxels around each corner of voxels are in the mask, as bits."""
    padded = np.pad(mask, [(0, 0) if axis == flat else (1, 1) for axis in range(3)])
    codes = np.zeros([n - (axis != flat) for axis, n in enumerate(padded.shape)], np.uint8)
    for bit, corner in enumerate(_corners(flat)):
        part = tuple(
            slice(None) if axis == flat else slice(step, padded.shape[axis] - 1 + step)
            for axis, step in enumerate(corner)
        )
        codes |= padded[part].astype(np.uint8) << bit
    return codes


def _corners(flat: int | None) -> list[tuple[int, ...]]:
    """The steps from the first of the voxels around a corner to each of them."""
    return [corner for corner in np.ndindex(2, 2, 2) if flat is None or corner[flat] == 0]


def _places(border: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Where the elements `[n, 3]` are; all from one corner, as only differences count."""
    index = np.unravel_index(np.flatnonzero(border), border.shape)
    return np.asarray(np.column_stack(index).astype(np.float64) @ grid.affine[:3, :3].T)


@lru_cache(maxsize=16)
def _elements(matrix: bytes, flat: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For every code the size of its piece of surface, and where that is from the corner `[code, 3]`.

    `matrix` are the steps along i, j and k as columns.
    """
    axes = np.frombuffer(matrix).reshape(3, 3)
    corners = _corners(flat)
    sizes, middles = np.zeros(1 << len(corners)), np.zeros((1 << len(corners), 3))
    for code in range(1, len(sizes) - 1):
        cube = np.zeros((2, 2, 2), np.float32)
        for bit, corner in enumerate(corners):
            cube[corner] = code >> bit & 1
        pieces = (_triangles(cube) if flat is None else _lines(np.take(cube, 0, flat), flat)) @ axes.T
        edges = pieces[:, 1:] - pieces[:, :1]
        if flat is None:
            size = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=-1) / 2
        else:
            size = np.linalg.norm(edges[:, 0], axis=-1)
        sizes[code] = size.sum()
        middles[code] = size @ pieces.mean(axis=1) / size.sum() - axes @ np.full(3, 0.5)
    return sizes, middles


def _triangles(cube: NDArray[np.float32]) -> NDArray[np.float64]:
    """The surface halfway between the corners of a cube of side 1: triangles `[n, 3, 3]`."""
    from skimage.measure import marching_cubes

    corners, faces, _, _ = marching_cubes(cube, 0.5)
    return np.asarray(corners[faces], np.float64)


def _lines(square: NDArray[np.float32], flat: int) -> NDArray[np.float64]:
    """The line halfway between the corners of a square of side 1: pieces `[n, 2, 3]`.

    Two corners in a row are parted by a line from side to side; a corner alone is cut off, from the middle of
    one of its sides to the middle of the other.
    """
    if np.array_equal(square[:, 0], square[:, 1]):
        lines = [((0.5, 0.0), (0.5, 1.0))]
    elif np.array_equal(square[0], square[1]):
        lines = [((0.0, 0.5), (1.0, 0.5))]
    else:
        alone = np.argwhere(square if square.sum() <= 2 else 1 - square)
        lines = [((0.5, float(second)), (float(first), 0.5)) for first, second in alone]
    return np.insert(np.array(lines), flat, 0.5, axis=-1)
