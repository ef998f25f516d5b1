"""Simple bodies with closed-form volumes, sampled on any grid: oblique, sheared or anisotropic.

    grid = Grid((64, 64, 64), np.diag([1.0, 1.0, 1.0, 1.0]))
    ball = sphere(20.0, grid)  # occupancy [0, 1]
    ball.sum() * grid.voxel_ml  # 33.51 mL
    labelled("ball", ball, grid).mask("ball")  # voxels that are at least half full

Shapes live in world millimetres (RAS+); the default centre is the middle of the grid. Voxels that the
surface may cross are divided into SAMPLES³ small cells, in each of which the surface is taken as flat; the
others are known to be full or empty.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

__all__ = ["Occupancy", "Point", "box", "cylinder", "ellipsoid", "labelled", "occupancy", "sphere"]

Occupancy = NDArray[np.float32]
Point = tuple[float, float, float]
Distance = Callable[[NDArray[np.float64]], NDArray[np.float64]]

SAMPLES = 8  # per axis; 1e-3 of the volume for a body that is a few voxels wide, 3 % for half a voxel
CHUNK = 1 << 11  # voxels divided at once: 1 Mi small cells


def sphere(radius_mm: float, grid: Grid, centre: Point | None = None) -> Occupancy:
    """Occupancy `[i, j, k]` of a sphere; its volume is 4/3 π r³, 33.51 mL for 20 mm."""
    return ellipsoid((radius_mm, radius_mm, radius_mm), grid, centre)


def ellipsoid(radii_mm: Point, grid: Grid, centre: Point | None = None) -> Occupancy:
    """Occupancy `[i, j, k]` of an ellipsoid with half-axes along world x, y, z; volume 4/3 π a b c."""
    radii = _positive(radii_mm, "radii")

    def distance(world: NDArray[np.float64]) -> NDArray[np.float64]:
        # Never more than the true distance: |p / r| grows by at most 1 / min(r) per millimetre.
        return np.asarray((np.linalg.norm(world / radii, axis=-1) - 1) * radii.min(), np.float64)

    return occupancy(distance, grid, centre)


def box(size_mm: Point, grid: Grid, centre: Point | None = None) -> Occupancy:
    """Occupancy `[i, j, k]` of a box with edges of `size_mm` along world x, y, z; volume a b c."""
    half = _positive(size_mm, "edges") / 2
    return occupancy(lambda world: np.max(np.abs(world) - half, axis=-1), grid, centre)


def cylinder(radius_mm: float, length_mm: float, grid: Grid, centre: Point | None = None) -> Occupancy:
    """Occupancy `[i, j, k]` of a cylinder along world z; volume π r² times its length."""
    radius, length = _positive((radius_mm, length_mm), "radius and length")

    def distance(world: NDArray[np.float64]) -> NDArray[np.float64]:
        beside = np.hypot(world[..., 0], world[..., 1]) - radius
        return np.asarray(np.maximum(beside, np.abs(world[..., 2]) - length / 2), np.float64)

    return occupancy(distance, grid, centre)


def occupancy(distance: Distance, grid: Grid, centre: Point | None = None) -> Occupancy:
    """Fraction `[i, j, k]` of each voxel that lies inside a body, by supersampling.

    `distance` maps positions `[..., 3]` relative to the centre, in RAS+ mm, to millimetres outside (positive)
    or inside (negative) the body; it may say less than the true distance, never more.
    """
    grid.require_mm("a phantom")
    middle = grid.centre if centre is None else np.asarray(centre, np.float64)
    cells = _cell_offsets(grid)
    reach = float(np.linalg.norm(np.abs(grid.affine[:3, :3]).sum(axis=1))) / 2  # at least half a diagonal
    result = np.empty(grid.shape, np.float32)
    j, k = np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[2]), indexing="ij")
    for i in range(grid.shape[0]):
        world = grid.to_world(np.stack([np.full_like(j, i), j, k], axis=-1)) - middle
        outside = distance(world)
        plane = (outside < 0).astype(np.float32)
        crossed = np.abs(outside) <= reach
        plane[crossed] = _fractions(distance, world[crossed], cells)
        result[i] = plane
    return result


def labelled(name: str, filled: Occupancy, grid: Grid) -> Segmentation:
    """A segmentation with one label, `name`: the voxels that are at least half full."""
    return Segmentation.from_masks({name: filled >= 0.5}, grid, LabelTable((Label(1, name),)))


def _cell_offsets(grid: Grid) -> NDArray[np.float64]:
    """Centres `[SAMPLES, SAMPLES, SAMPLES, 3]` of a voxel's small cells, in mm from the voxel's centre."""
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    index = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return np.asarray(index @ grid.affine[:3, :3].T, np.float64)


def _fractions(
    distance: Distance, world: NDArray[np.float64], cells: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of each voxel inside, for voxels centred at `world[n, 3]`.

    A small cell is inside by a ramp over its own size, as steep as the distance changes from cell to cell: a
    face that runs along the grid is then placed exactly, not to the next cell.
    """
    shares = np.empty(len(world))
    for start in range(0, len(world), CHUNK):
        centres = world[start : start + CHUNK, None, None, None, :]
        outside = distance(centres + cells)
        steepness = np.sqrt(sum(np.gradient(outside, axis=axis) ** 2 for axis in (1, 2, 3)))
        ramp = 0.5 - outside / np.maximum(steepness, 1e-12)
        shares[start : start + CHUNK] = np.clip(ramp, 0, 1).mean(axis=(1, 2, 3))
    return shares


def _positive(values: tuple[float, ...], what: str) -> NDArray[np.float64]:
    """The values as an array, if all are lengths."""
    lengths = np.asarray(values, np.float64)
    if not (np.isfinite(lengths).all() and lengths.min() > 0):
        raise UsageError(f"{what} of {list(values)} mm: give positive lengths")
    return lengths
