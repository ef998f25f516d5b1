"""A grid that shapes are painted on, front to back, with partial volume.

Each shape takes its share of what earlier shapes left of a voxel, so that fractions add up to one and every
volume is known to a fraction of a voxel. The voxel's label is that of the shape that fills most of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.testing.implicit import Field, Points
from medseg.volume import Grid

__all__ = ["Canvas", "Kind", "Placement", "Region", "Wave", "fraction_inside", "waves"]

SLACK = 3  # voxels around a shape's box


class Kind(NamedTuple):
    """What a shape is: the organ and the tissue that its voxels count as, if any."""

    organ: str | None = None
    tissue: str | None = None


class Wave(NamedTuple):
    """A plane wave: `amplitude` * cos(`vector` · position + `phase`), vector in radians per mm."""

    amplitude: float
    vector: tuple[float, float, float]
    phase: float


class Placement(NamedTuple):
    """How the reference body lies in the world: `matrix` · (world - `offset`) + waves per axis."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    bending: tuple[tuple[Wave, ...], tuple[Wave, ...], tuple[Wave, ...]]

    @property
    def slack(self) -> float:
        """The most that the waves can move a place, in mm."""
        return max(sum(abs(wave.amplitude) for wave in axis) for axis in self.bending)


class Region(NamedTuple):
    """A box of the canvas: where it is in the arrays, and the reference position of each of its voxels."""

    window: tuple[slice, slice, slice]
    points: Points


class Canvas:
    """Hounsfield units and labels in the making, on a grid with one voxel more on each side."""

    def __init__(self, grid: Grid, placement: Placement) -> None:
        self.grid = grid.padded((1, 1, 1), (1, 1, 1))
        self.placement = placement
        self.points = Points(*_reference_positions(self.grid, placement))
        self.hu = np.zeros(self.grid.shape, np.float32)
        self.left = np.ones(self.grid.shape, np.float32)
        self.most = np.zeros(self.grid.shape, np.float32)
        self.part = np.zeros(self.grid.shape, np.uint8)
        self.kinds: list[Kind] = [Kind()]
        self.volumes: dict[str, float] = {}

    def everywhere(self) -> Region:
        """The whole canvas."""
        return Region((slice(None), slice(None), slice(None)), self.points)

    def region(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> Region:
        """The box of voxels that holds all of a reference box from `low` to `high`, in mm."""
        slack = self.placement.slack
        ends = [(a - slack, b + slack) for a, b in zip(low, high, strict=True)]
        corners = np.array([[x, y, z] for x in ends[0] for y in ends[1] for z in ends[2]])
        world = np.linalg.solve(self.placement.matrix, corners.T).T + self.placement.offset
        index = self.grid.to_index(world)
        first = np.clip(np.floor(index.min(axis=0)).astype(int) - SLACK, 0, self.grid.shape)
        last = np.clip(np.ceil(index.max(axis=0)).astype(int) + SLACK + 1, 0, self.grid.shape)
        window = tuple(slice(int(a), int(max(a, b))) for a, b in zip(first, last, strict=True))
        i, j, k = window
        return Region((i, j, k), Points(*(axis[i, j, k] for axis in self.points)))

    def paint(self, region: Region, shape: Field, hu: float | Field, kind: Kind) -> None:
        """Fill what is left inside `shape` (an implicit function on the region) with `hu`."""
        if min(region.points.x.shape) > 1:
            self.fill(region, fraction_inside(shape), hu, kind)

    def fill(self, region: Region, fraction: Field, hu: float | Field, kind: Kind) -> None:
        """Fill `fraction` of what is left of each voxel of the region with `hu`."""
        window = region.window
        share = fraction * self.left[window]
        self.left[window] -= share
        self.hu[window] += share * hu
        if kind not in self.kinds:
            self.kinds.append(kind)
        ahead = share > self.most[window]
        self.most[window][ahead] = share[ahead]
        self.part[window][ahead] = self.kinds.index(kind)
        self._count(region, share, kind)

    def _count(self, region: Region, share: Field, kind: Kind) -> None:
        """Add to the volumes what lies on the grid itself, not on its rim."""
        ends = [part.indices(n)[:2] for part, n in zip(region.window, self.grid.shape, strict=True)]
        inner = tuple(
            slice(max(1 - first, 0), max(min(last, n - 1) - first, 0))
            for (first, last), n in zip(ends, self.grid.shape, strict=True)
        )
        filled = float(share[inner].sum(dtype=np.float64)) * self.grid.voxel_ml
        for name in {kind.organ, kind.tissue} - {None}:
            self.volumes[str(name)] = self.volumes.get(str(name), 0.0) + filled


def fraction_inside(shape: Field) -> Field:
    """Share of each voxel inside an implicit function given at voxel centres.

    The surface is taken as flat within a voxel; its position follows from value and slope, and the ramp has
    the variance of a voxel-sized box, on any grid. Exact where the surface runs along the grid.
    """
    steepness = np.zeros_like(shape)
    for axis in range(3):
        slope = np.gradient(shape, axis=axis)
        steepness += slope * slope
    np.sqrt(steepness, out=steepness)
    steepness += 1e-6
    inside: Field = np.clip(0.5 - shape / steepness, 0.0, 1.0)
    return inside


def waves(
    rng: np.random.Generator, count: int, amplitude: float, lengths_mm: tuple[float, float]
) -> tuple[Wave, ...]:
    """Random plane waves with wavelengths between `lengths_mm`, each up to `amplitude` high."""
    drawn = []
    for _ in range(count):
        direction = rng.standard_normal(3)
        direction *= 2 * np.pi / (np.linalg.norm(direction) * rng.uniform(*lengths_mm))
        x, y, z = (float(d) for d in direction)
        drawn.append(
            Wave(float(amplitude * rng.uniform(0.4, 1.0)), (x, y, z), float(rng.uniform(0, 2 * np.pi)))
        )
    return tuple(drawn)


def wave_field(grid: Grid, group: tuple[Wave, ...]) -> Field:
    """Sum of waves at every voxel.

    cos(a + b) is taken apart so that cosines are needed along one axis and over one plane only; in float64,
    whose last digit, which differs between machines, is then lost in float32.
    """
    total = np.zeros(grid.shape, np.float32)
    i = np.arange(grid.shape[0])[:, None, None]
    j, k = np.arange(grid.shape[1])[:, None], np.arange(grid.shape[2])[None, :]
    for wave in group:
        step = [
            sum(wave.vector[row] * float(grid.affine[row, axis]) for row in range(3)) for axis in range(4)
        ]
        along = step[0] * i
        across = step[1] * j + step[2] * k + (step[3] + wave.phase)
        for one, other, sign in ((np.cos, np.cos, 1.0), (np.sin, np.sin, -1.0)):
            total += (sign * wave.amplitude * one(along)).astype(np.float32) * other(across).astype(
                np.float32
            )
    return total


def _reference_positions(grid: Grid, placement: Placement) -> tuple[Field, Field, Field]:
    """Reference x, y, z of every voxel, float32, without a matrix product, whose rounding varies."""
    i = np.arange(grid.shape[0], dtype=np.float64)[:, None, None]
    j = np.arange(grid.shape[1], dtype=np.float64)[None, :, None]
    k = np.arange(grid.shape[2], dtype=np.float64)[None, None, :]
    found = []
    for row in range(3):
        weights = [
            sum(float(placement.matrix[row, w]) * float(grid.affine[w, axis]) for w in range(3))
            for axis in range(3)
        ]
        start = sum(
            float(placement.matrix[row, w]) * (float(grid.affine[w, 3]) - float(placement.offset[w]))
            for w in range(3)
        )
        straight = weights[0] * i + weights[1] * j + (weights[2] * k + start)
        found.append(straight.astype(np.float32) + wave_field(grid, placement.bending[row]))
    return found[0], found[1], found[2]
