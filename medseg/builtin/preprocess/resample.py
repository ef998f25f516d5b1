"""The preprocessor `resample`."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from medseg.sampling import Interpolation
from medseg.steps import Preprocessor
from medseg.volume import Grid, Volume

__all__ = ["Resample"]

FLOAT = 4  # bytes
Length = Annotated[float, Field(gt=0)]
Three = tuple[Length | None, Length | None, Length | None]


def _three(given: object) -> object:
    """The same length for each axis, where one number is given; raises ValueError for what is no spacing."""
    if isinstance(given, int | float):
        return (given,) * 3
    if isinstance(given, list | tuple) and len(given) == 3:
        return given
    raise ValueError("give one number or three, in mm")


class Resample(Preprocessor):
    """Bring voxels to a spacing in mm; the extent stays the same.

    Networks are trained at one spacing; an organ must span the same number of voxels. The outer faces of
    the image stay exactly where they are, so the spacing reached differs from the one asked for by less
    than half a voxel over a whole axis. The result is float32, except with `nearest` or where no voxel
    moves.

    A cubic spline rings across thick slices: beside an organ that fills one slice, it invents dark and
    bright ones. With `cubic`, axes much coarser than the finest one are therefore interpolated linearly,
    the others by the spline. nnU-Net has the same rule (Isensee et al., Nature Methods 18, 2021, 203-211:
    beyond a ratio of 3, third order in the plane and nearest across it). Ours differs in two ways: across
    slices it is linear, which has no steps, and only the spacing the image comes with counts, as that is
    what makes a spline ring. Cubic values may exceed the image's range by some per cent at sharp edges; add
    `clip` where that matters.
    """

    libraries: ClassVar[Mapping[str, int]] = {"SimpleITK": 96 << 20}  # with its threads

    spacing: Annotated[Three, BeforeValidator(_three, json_schema_input_type=Length | Three)]
    """Distance between voxel centres along i, j, k in mm; one number for all, null for an axis to keep."""

    interpolation: Interpolation = "linear"
    """Values between voxels: linear, cubic (B-spline of third order) or nearest (keeps whole numbers)."""

    thick: float = Field(default=3.0, ge=1)
    """With cubic: an axis whose spacing exceeds this many times the finest one is interpolated linearly."""

    antialias: bool = False
    """Smooth before shrinking, so that detail finer than the new spacing does not turn into false patterns.

    A Gaussian of (new spacing / old spacing - 1) / 2 voxels along each axis that shrinks, as in
    scikit-image's `resize`. Off by default, as networks by nnU-Net and MONAI were trained without; never
    used with nearest.
    """

    def __call__(self, volume: Volume) -> Volume:
        """Return the image at the wanted spacing."""
        target = self.foretold(volume.grid)
        if target.shape == volume.grid.shape:
            return volume
        if self.antialias and self.interpolation != "nearest":
            volume = volume.replace(array=_smoothed(volume.array, before=volume.grid, after=target))
        if self.interpolation == "cubic":
            return self._cubic(volume, target)
        return volume.onto(target, interpolation=self.interpolation)

    def foretold(self, grid: Grid) -> Grid:
        """The same extent at the wanted spacing; raises GeometryError without a scale."""
        grid.require_mm("resample")
        pairs = zip(self.spacing, grid.spacing, strict=True)
        return grid.respaced([here if wanted is None else wanted for wanted, here in pairs])

    def work_bytes(self, volume: Volume) -> int:
        """One channel twice as it is interpolated from, and the result with one channel of it twice."""
        target = self.foretold(volume.grid)
        if target.shape == volume.grid.shape:
            return 0
        whole = volume.array.dtype.kind in "iu" and volume.array.dtype.itemsize <= 2
        plain = whole and self.interpolation == "linear" and not self.antialias
        here, there = math.prod(volume.grid.shape), math.prod(target.shape)
        read = 2 * here * (volume.array.dtype.itemsize if plain else FLOAT)
        between = 2 * FLOAT * max(here, there) if self.interpolation == "cubic" else 0
        smooth = FLOAT * here * (1 + len(volume.channels)) if self.antialias else 0
        return read + between + smooth + FLOAT * there * (len(volume.channels) + 2)

    def _cubic(self, volume: Volume, target: Grid) -> Volume:
        """Resample by spline along thin axes, then linearly along thick ones.

        On the grid between, thick axes keep their voxels; there the spline passes through the values it was
        given, so the first pass mixes nothing across thick slices.
        """
        here = np.asarray(volume.grid.spacing)
        thick = here > self.thick * here.min() * (1 + 1e-6)  # a ratio of exactly `thick` is not beyond it
        between = volume.grid.respaced(np.where(thick, here, target.spacing).tolist())
        spline = volume.onto(between, interpolation="cubic")
        return spline.onto(target, interpolation="linear") if thick.any() else spline


def _smoothed(array: NDArray[Any], *, before: Grid, after: Grid) -> NDArray[np.float32]:
    """`array[C, i, j, k]` smoothed along the axes that have fewer voxels afterwards."""
    from scipy.ndimage import gaussian_filter

    sigma = [max(0.0, (old / new - 1) / 2) for old, new in zip(before.shape, after.shape, strict=True)]
    smooth = np.empty(array.shape, np.float32)
    for channel, values in enumerate(array):
        gaussian_filter(values.astype(np.float32, copy=False), sigma, output=smooth[channel], mode="nearest")
    return smooth
