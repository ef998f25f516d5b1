"""Hypothesis strategies for grids and the images on them: every geometry that a scanner or a file gives."""

from itertools import permutations, product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

ORIENTATIONS = tuple(
    "".join(pairs[axis][side] for axis, side in zip(order, sides, strict=True))
    for pairs in [("LR", "PA", "IS")]
    for order in permutations(range(3))
    for sides in product((0, 1), repeat=3)
)


def rotation(axis: tuple[float, float, float], degrees: float) -> NDArray[np.float64]:
    """A 3x3 rotation about an axis through the origin, by Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turned


def affine_of(linear: NDArray[np.float64], origin: Any = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """A 4x4 matrix from its 3x3 part and its last column."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = origin
    return affine


@st.composite
def grids(draw: st.DrawFn, *, largest: int = 7, oblique: float = 180.0, shear: float = 0.6) -> Grid:
    """Any grid: anisotropic, rotated by up to `oblique` degrees, sheared, in any axis order, thin or not."""
    shape = draw(st.tuples(*[st.integers(1, largest)] * 3))
    spacing = draw(st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 2.5, 5.0]) | st.floats(0.2, 8.0)] * 3))
    axis = draw(st.sampled_from([(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, 2.0, 3.0), (1.0, -1.0, 0.5)]))
    degrees = draw(st.just(0.0) | st.floats(-oblique, oblique))
    tilt = np.eye(3)
    tilt[1, 2] = draw(st.just(0.0) | st.floats(-shear, shear))  # a tilted gantry
    tilt[0, 1] = draw(st.just(0.0) | st.floats(-shear, shear))
    origin = draw(st.tuples(*[st.floats(-400, 400)] * 3))
    upright = Grid(shape, affine_of(rotation(axis, degrees) @ tilt @ np.diag(spacing), origin))
    return upright.reoriented(draw(st.sampled_from(ORIENTATIONS)))


def numbered(grid: Grid, dtype: Any = np.int32, channels: int = 1) -> Volume:
    """An image in which every voxel has a number of its own, from 1."""
    count = channels * int(np.prod(grid.shape))
    array = np.arange(1, count + 1, dtype=dtype).reshape(channels, *grid.shape)
    return Volume(array, grid, channels=tuple(f"c{n}" for n in range(channels)))


def organs(grid: Grid, seed: int = 0) -> Segmentation:
    """Two layers of random labels, 1 and 2 in the first and 300 in the second."""
    table = LabelTable((Label(1, "liver"), Label(2, "spleen"), Label(300, "lesion", layer=1)))
    rng = np.random.default_rng(seed)
    array = np.stack([rng.integers(0, 3, grid.shape), 300 * rng.integers(0, 2, grid.shape)]).astype(np.uint16)
    return Segmentation(array, grid, table)


@st.composite
def whole_voxel_moves(draw: st.DrawFn, *, croppable: bool = True) -> list[tuple[str, Any]]:
    """A chain of steps that move whole voxels only: names with their parameters, see `moved`."""
    kinds = ["reorient", "flip", "pad"] + ["crop"] * croppable
    return draw(st.lists(st.sampled_from(kinds).flatmap(_with_parameters), max_size=5))


def _with_parameters(kind: str) -> st.SearchStrategy[tuple[str, Any]]:
    if kind == "reorient":
        return st.tuples(st.just(kind), st.sampled_from(ORIENTATIONS))
    if kind == "flip":
        return st.tuples(st.just(kind), st.integers(0, 2))
    amounts = st.tuples(*[st.integers(0, 3)] * 3)
    return st.tuples(st.just(kind), st.tuples(amounts, amounts))


def moved(grid: Grid, step: tuple[str, Any]) -> Grid:
    """The grid after one of `whole_voxel_moves`; a crop leaves at least one voxel of each axis."""
    kind, how = step
    if kind == "reorient":
        return grid.reoriented(how)
    if kind == "flip":
        opposite = dict(zip("LRPAIS", "RLAPSI", strict=True))
        codes = grid.axis_codes
        return grid.reoriented(codes[:how] + opposite[codes[how]] + codes[how + 1 :])
    before, after = how
    if kind == "pad":
        return grid.padded(before, after)
    start = [min(b, n - 1) for b, n in zip(before, grid.shape, strict=True)]
    stop = [max(s + 1, n - a) for s, n, a in zip(start, grid.shape, after, strict=True)]
    return grid.cropped(start, stop)
