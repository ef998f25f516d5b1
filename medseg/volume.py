"""Images and where they lie: Grid, Planes, Volume, Source.

Axes are i, j, k; world coordinates are RAS+ millimetres: x, y, z grow towards the patient's right, front and
head. Geometry is a value: a step returns a new Volume whose
grid is true, and whatever must come back is put back by one resample onto another grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.errors import GeometryError
from medseg.sampling import Interpolation, sample, turned, whole_voxel_map

if TYPE_CHECKING:
    from medseg.segmentation import Segmentation

__all__ = ["LPS_TO_RAS", "Grid", "Planes", "Source", "Unit", "Volume", "read_only", "resampled"]

Unit = Literal["mm", "px"]
PICTURES = ("PNG", "TIFF")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the axes of DICOM and ITK to ours, and back
AXIS_CODES = (("L", "R"), ("P", "A"), ("I", "S"))
SINGULAR = 1e-6  # smallest allowed |determinant| of the unit axis directions
# What decides between two equally good axis names: above rounding noise, below any real difference
LEAN = 1e-9
ROUNDING = 26  # bits after the point in an index map: 1.5e-8 voxel, which adds up to 1e-5 over 500 voxels


def read_only(array: ArrayLike) -> NDArray[Any]:
    """Return a view that refuses writes, so that no step can change what it was given."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels are: `shape` in voxels along i, j, k and `affine`, index to RAS+ position of a centre.

    The affine is 4x4 in millimetres, or in pixels where `unit` is "px" (a picture without a scale). Shear is
    allowed: a tilted CT is a grid too. Raises GeometryError for a singular or non-finite affine.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    unit: Unit = "mm"

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid has three axes of at least one voxel, not {shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError("the affine is not a 4x4 matrix of finite numbers")
        if not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise GeometryError(f"the affine's last row is {affine[3].tolist()}, not 0 0 0 1")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() == 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < SINGULAR:
            raise GeometryError("the affine is singular: it folds the volume flat")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", read_only(affine))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and self.shape == other.shape
            and self.unit == other.unit
            and np.array_equal(self.affine, other.affine)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.unit, (self.affine + 0.0).tobytes()))  # + 0.0: -0.0 equals 0.0

    def __repr__(self) -> str:
        size = " x ".join(str(n) for n in self.shape)
        spacing = " x ".join(f"{s:g}" for s in np.round(self.spacing, 4))
        return f"Grid({size}, {spacing} {self.unit}, {self.axis_codes})"

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k, in `unit`."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]  # three columns

    @property
    def axis_codes(self) -> str:
        """Where i, j, k run to, as in "RAS"; each world axis is named once, even on an oblique grid.

        Of the six ways to name the axes, the one with the largest product of cosines: never zero, so that
        every grid has a name, and the same for all 48 orders and directions of its axes, at 45 degrees too.
        """
        directions = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        # Products of two cosines of one axis do not change when the axis is flipped.
        leaning = np.array([4, 2, 1]) @ (directions * np.roll(directions, 1, axis=0))

        def fit(worlds: tuple[int, ...]) -> float:
            cosines = directions[list(worlds), range(3)]
            return float(abs(cosines.prod()) + LEAN * (leaning @ np.array(worlds)))

        best = max(permutations(range(3)), key=fit)
        return "".join(AXIS_CODES[world][int(directions[world, axis] > 0)] for axis, world in enumerate(best))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres; raises GeometryError where the unit is not mm."""
        self.require_mm("a volume in mL")
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def require_mm(self, what: str) -> None:
        """Refuse by name what cannot be said in pixels."""
        if self.unit != "mm":
            raise GeometryError(f"{what} needs a scale, and this image is in pixels; give --pixel-size in mm")

    @property
    def centre(self) -> NDArray[np.float64]:
        """RAS+ position of the middle of the grid."""
        return self.to_world((np.asarray(self.shape) - 1) / 2)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """RAS+ positions of voxel indices `[..., 3]`."""
        moved: NDArray[np.float64] = (
            np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]
        )
        return moved

    def to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel indices of RAS+ positions `[..., 3]`."""
        offset = np.asarray(world, np.float64) - self.affine[:3, 3]
        index = np.linalg.solve(self.affine[:3, :3], offset.reshape(-1, 3).T).T
        return np.asarray(index.reshape(offset.shape), np.float64)

    def corners(self) -> NDArray[np.float64]:
        """RAS+ positions `[8, 3]` of the outer corners: half a voxel beyond the outermost centres."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.to_world([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])

    def index_map(self, onto: Grid) -> NDArray[np.float64]:
        """4x4 matrix from a voxel index of `onto` to the fractional index of the same place here.

        Rounded to 26 bits after the point, so that grids equal but for floating-point noise (one image stored
        in another axis order) are resampled to bit-equal values. Bits, not decimals: common ratios of
        spacings then never lie half-way between two roundings.
        """
        columns = onto.affine[:3].copy()
        columns[:, 3] -= self.affine[:3, 3]  # before dividing: a far origin must not cost digits
        matrix = np.eye(4)
        matrix[:3] = np.ldexp(
            np.rint(np.ldexp(np.linalg.solve(self.affine[:3, :3], columns), ROUNDING)), -ROUNDING
        )
        return matrix + 0.0  # no negative zeros

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both hold the same voxels: same shape and unit, no corner moved by more than `tolerance`.

        The tolerance is in voxels of this grid along each axis; corners are the outer ones, so that a single
        slice of another thickness is not the same.
        """
        if self.shape != other.shape or self.unit != other.unit:
            return False
        return bool(np.abs(self.to_index(other.corners()) - self.to_index(self.corners())).max() <= tolerance)

    def reoriented(self, codes: str) -> Grid:
        """The same voxels with axes in the order and direction of `codes`, as in "RAS" or "LPS"."""
        here = self.axis_codes
        families = ["".join(sorted(pair)) for pair in AXIS_CODES]
        wanted = codes.upper()
        if (
            sorted("".join(sorted(p)) for p in AXIS_CODES for c in wanted if c in p) != sorted(families)
            or len(wanted) != 3
        ):
            raise GeometryError(
                f"{codes!r} is not an orientation; name each of L/R, P/A, I/S once, as in RAS"
            )
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        shape = [0, 0, 0]
        for new, letter in enumerate(wanted):
            old = next(
                axis for axis, code in enumerate(here) if any({code, letter} <= set(p) for p in AXIS_CODES)
            )
            shape[new] = self.shape[old]
            matrix[old, new] = 1 if here[old] == letter else -1
            matrix[old, 3] = 0 if here[old] == letter else self.shape[old] - 1
        return Grid((shape[0], shape[1], shape[2]), self.affine @ matrix, self.unit)

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> Grid:
        """Voxels `start` to `stop` (exclusive) along i, j, k; beyond the borders, this pads."""
        low, high = np.asarray(start, int), np.asarray(stop, int)
        if np.any(high <= low):
            raise GeometryError(f"nothing lies between voxel {low.tolist()} and {high.tolist()}")
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(low)
        i, j, k = (int(n) for n in high - low)
        return Grid((i, j, k), affine, self.unit)

    def padded(self, before: Sequence[int], after: Sequence[int]) -> Grid:
        """The grid with more voxels before and after along i, j, k."""
        return self.cropped([-n for n in before], [n + m for n, m in zip(self.shape, after, strict=True)])

    def respaced(self, spacing: Sequence[float]) -> Grid:
        """A grid of about this spacing with exactly the same extent.

        The number of voxels is rounded, at least one; the spacing then gives way by less than half a voxel
        over the whole axis, so that the outer faces stay where they are.
        """
        wanted = np.asarray(spacing, float)
        if wanted.shape != (3,) or not np.isfinite(wanted).all() or wanted.min() <= 0:
            raise GeometryError(f"spacing {list(spacing)} is not three positive lengths in {self.unit}")
        shape = np.maximum(1, np.rint(np.asarray(self.shape) * self.spacing / wanted)).astype(int)
        zoom = np.asarray(self.shape) / shape
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * zoom
        affine[:3, 3] = self.to_world((zoom - 1) / 2)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, self.unit)


def resampled(
    array: NDArray[Any], here: Grid, onto: Grid, *, interpolation: Interpolation, fill: float
) -> NDArray[Any]:
    """`array[C, i, j, k]` on the grid `here`, read at the voxels of `onto`; `fill` outside.

    Both are turned to RAS for it, so that the value of a place does not depend, to the bit, on the axis order
    and direction in which either is stored.
    """
    matrix = here.index_map(onto)
    if whole_voxel_map(matrix, onto.shape) is not None:
        return sample(array, matrix, onto.shape, interpolation=interpolation, fill=fill)
    source, target = here.reoriented("RAS"), onto.reoriented("RAS")
    forth, back = (
        whole_voxel_map(here.index_map(source), source.shape),
        whole_voxel_map(target.index_map(onto), onto.shape),
    )
    assert forth is not None
    assert back is not None
    standing = turned(array, *forth[:2])
    moved = sample(standing, source.index_map(target), target.shape, interpolation=interpolation, fill=fill)
    return np.ascontiguousarray(turned(moved, *back[:2]))


@dataclass(frozen=True, eq=False)
class Planes:
    """Slices that no single affine can place: an index-to-RAS+ matrix `[n, 4, 4]` per slice, `shape` (i, j).

    For gaps and uneven spacing: labels are sampled on each original slice. Column 2 of a matrix is the
    slice's normal times its thickness in millimetres; k is 0 on every plane.
    """

    shape: tuple[int, int]
    affines: NDArray[np.float64]

    def __post_init__(self) -> None:
        affines = np.array(self.affines, np.float64)
        if affines.ndim != 3 or affines.shape[1:] != (4, 4) or not len(affines):
            raise GeometryError(f"planes have one 4x4 matrix each, not an array of {affines.shape}")
        object.__setattr__(self, "affines", read_only(affines))

    def grids(self) -> tuple[Grid, ...]:
        """One grid of a single slice for each plane, in order."""
        return tuple(Grid((*self.shape, 1), affine) for affine in self.affines)


@dataclass(frozen=True)
class Source:
    """What came in: enough to put a result back onto the original voxels, and to say where it came from.

    `headers` holds what the format's reader keeps (see `medseg.io`); `sha256` one digest per file; `verdict`
    is one line on the geometry, "ok" where nothing was doubtful; `policies` what was changed on the way in;
    `decided` what an explicit policy made of a doubt, one line each: every output repeats these; `joined` the
    sources of further inputs whose images are channels of the same volume. `patient` is a digest that tells
    patients apart in this process, and means nothing in any other.
    """

    native: Grid | Planes
    format: str
    files: tuple[Path, ...] = ()
    sha256: tuple[str, ...] = ()
    headers: tuple[Mapping[str, Any], ...] = ()
    modality: str | None = None
    verdict: str = "ok"
    policies: tuple[str, ...] = ()
    decided: tuple[str, ...] = ()
    joined: tuple[Source, ...] = field(default=(), repr=False)
    patient: str = field(default="", repr=False, compare=False)

    def put_back(self, segmentation: Segmentation) -> Segmentation:
        """The segmentation on the original voxels: nearest, or an exact copy where only whole voxels moved.

        Raises GeometryError where the original slices have no common grid (Planes): `on_slices` then.
        """
        if isinstance(self.native, Planes):
            raise GeometryError("the original slices have no common grid; use on_slices()")
        return segmentation.onto(self.native)

    def on_slices(self, segmentation: Segmentation) -> NDArray[Any]:
        """Labels `[L, i, j, n]` on each original slice, where it lies, in the order of `headers`: nearest."""
        if isinstance(self.native, Grid):
            return self.put_back(segmentation).array
        first, *others = self.native.grids()
        labels = segmentation.onto(first).array
        result = np.empty((*labels.shape[:3], 1 + len(others)), labels.dtype)
        result[..., :1] = labels
        for k, plane in enumerate(others, start=1):
            result[..., k : k + 1] = segmentation.onto(plane).array
        return read_only(result)


@dataclass(frozen=True, eq=False)
class Volume:
    """An image: `array[C, i, j, k]`, read-only, on a Grid, with a name for each channel.

    A 2-D picture is `[C, x, y, 1]`. Raises GeometryError where array, grid and channel names disagree.
    """

    array: NDArray[Any] = field(repr=False)
    grid: Grid
    channels: tuple[str, ...] = ("image",)
    source: Source | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        array = read_only(self.array)
        if array.ndim != 4:
            raise GeometryError(f"a volume's array is [C, i, j, k]; this one has {array.ndim} axes")
        if array.shape[1:] != self.grid.shape:
            raise GeometryError(f"the array holds {array.shape[1:]} voxels, its grid {self.grid.shape}")
        if not self.channels:
            raise GeometryError("a volume has at least one channel")
        if array.shape[0] != len(self.channels):
            raise GeometryError(
                f"{array.shape[0]} channels have {len(self.channels)} names: {', '.join(self.channels)}"
            )
        object.__setattr__(self, "array", array)

    def replace(self, **changes: Any) -> Volume:
        """A copy with some fields exchanged, as in `volume.replace(array=clipped)`."""
        return replace(self, **changes)

    @property
    def is_picture(self) -> bool:
        """Whether this is a flat picture, without a patient's left and right, and not a slice of a scan."""
        if self.grid.shape[2] != 1:
            return False
        return self.grid.unit == "px" or (self.source is not None and self.source.format in PICTURES)

    def onto(
        self, grid: Grid, *, interpolation: Interpolation = "linear", fill: float | None = None
    ) -> Volume:
        """The image read at the voxels of another grid; copied exactly where only whole voxels move.

        Voxels outside this volume become `fill`: by default the smallest value present in each channel.
        """
        if self.grid.unit != grid.unit:
            raise GeometryError(f"an image in {self.grid.unit} cannot be placed on a grid in {grid.unit}")
        if fill is not None or self.array.shape[0] == 1:
            outside = float(self.array.min()) if fill is None else fill
            moved = resampled(self.array, self.grid, grid, interpolation=interpolation, fill=outside)
        else:
            channels = (self.array[n : n + 1] for n in range(self.array.shape[0]))
            moved = np.concatenate(
                [
                    resampled(one, self.grid, grid, interpolation=interpolation, fill=float(one.min()))
                    for one in channels
                ]
            )
        return replace(self, array=moved, grid=grid)

    def reorient(self, codes: str) -> Volume:
        """The same voxels with axes as `codes`, as in "RAS"; no value changes."""
        return self.onto(self.grid.reoriented(codes))

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Volume:
        """The voxels from `start` to `stop` (exclusive) along i, j, k."""
        return self.onto(self.grid.cropped(start, stop))

    def pad(self, before: Sequence[int], after: Sequence[int], *, fill: float | None = None) -> Volume:
        """More voxels around the image, filled with `fill` (by default the smallest value present)."""
        return self.onto(self.grid.padded(before, after), fill=fill)
