"""Read an array at the voxels of another grid: the one place where values are interpolated.

Everything here works in index space. `matrix` takes a voxel index of the new grid to a (fractional) index
of the array, so that oblique, sheared and anisotropic grids need no special case.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError

__all__ = ["Interpolation", "sample", "turned", "whole_voxel_map"]

Interpolation = Literal["nearest", "linear", "cubic"]
Array = NDArray[Any]

WHOLE = 1e-3  # voxels; Grid.same_as uses the same tolerance
TIE = 1e-4  # voxels; more than the rounding of Grid.index_map adds up to over 2000 voxels
CHUNK_VOXELS = 1 << 19
REACH = {"linear": 1, "cubic": 6}  # voxels of held edge; a spline still feels 4e-4 of what lies 6 voxels away


def whole_voxel_map(
    matrix: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.int64]] | None:
    """Describe `matrix` as axis order, direction and offset, if it only moves whole voxels.

    Returns `(order, signs, offset)` with `old[order[a]] = signs[a] * new[a] + offset[order[a]]` for each new
    axis `a`, or None where voxels of the new grid (of `shape`) fall between voxels of the old.
    """
    linear = matrix[:3, :3]
    rounded = np.rint(linear).astype(np.int64)
    magnitude = np.abs(rounded)
    if not (np.all(magnitude.sum(0) == 1) and np.all(magnitude.sum(1) == 1)):
        return None
    offset = np.rint(matrix[:3, 3]).astype(np.int64)
    far = np.abs(linear - rounded) @ (np.asarray(shape) - 1) + np.abs(matrix[:3, 3] - offset)
    if np.any(far > WHOLE):
        return None
    order = tuple(int(axis) for axis in magnitude.argmax(0))
    signs = np.array([rounded[order[axis], axis] for axis in range(3)])
    return order, signs, offset


def sample(
    array: Array,
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    interpolation: Interpolation,
    fill: float,
) -> Array:
    """Return `array[C, i, j, k]` read at every voxel of a grid of `shape`, as `[C, *shape]`.

    Voxels outside the array become `fill`. Where the grids differ by whole voxels only, values are copied,
    not interpolated, and keep their type; nearest keeps it too, linear and cubic give float32. Nearest takes
    the higher index half-way between two voxels. The result may share memory with `array`.
    Raises UsageError where `fill` is needed and the array's type cannot hold it.
    """
    whole = whole_voxel_map(matrix, shape)
    if whole is not None:
        return _copied(array, *whole, shape=shape, fill=fill)
    if interpolation == "nearest":
        return _nearest(array, matrix, shape, fill)
    return _interpolated(array, matrix, shape, interpolation=interpolation, fill=fill)


def turned(array: Array, order: tuple[int, ...], signs: NDArray[np.int64]) -> Array:
    """View `array[C, i, j, k]` with axes in another order and direction, as `whole_voxel_map` gives them."""
    steps = (slice(None, None, int(sign)) for sign in signs)
    return array.transpose(0, *(1 + axis for axis in order))[:, *steps]


def _filled(array: Array, shape: tuple[int, int, int], fill: float) -> Array:
    """An array `[C, *shape]` of `fill`, in the type of `array`."""
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        if not (limits.min <= fill <= limits.max and float(fill).is_integer()):
            raise UsageError(
                f"voxels outside cannot become {fill:g} in an image of {array.dtype}; choose another fill"
            )
    return np.full((array.shape[0], *shape), fill, array.dtype)


def _copied(
    array: Array,
    order: tuple[int, ...],
    signs: NDArray[np.int64],
    offset: NDArray[np.int64],
    *,
    shape: tuple[int, int, int],
    fill: float,
) -> Array:
    """Copy the overlapping block of two grids that differ by axis order, direction and whole-voxel shifts."""
    reordered = array.transpose(0, *(1 + axis for axis in order))
    into: list[slice] = [slice(None)]
    out_of: list[slice] = [slice(None)]
    for axis in range(3):
        extent, start, sign = reordered.shape[1 + axis], int(offset[order[axis]]), int(signs[axis])
        # old index = sign * new + start must lie in [0, extent)
        low, high = (-start, extent - start) if sign > 0 else (start - extent + 1, start + 1)
        low, high = max(low, 0), min(high, shape[axis])
        if low >= high:
            return _filled(array, shape, fill)
        first, last = sign * low + start, sign * (high - 1) + start
        into.append(slice(low, high))
        stop = last + sign
        out_of.append(slice(first, stop if stop >= 0 else None, sign))
    block = reordered[tuple(out_of)]
    if block.shape[1:] == shape:
        return np.ascontiguousarray(block)
    result = _filled(array, shape, fill)
    result[tuple(into)] = block
    return result


def _nearest(array: Array, matrix: NDArray[np.float64], shape: tuple[int, int, int], fill: float) -> Array:
    """Read the nearest voxel; in chunks along the first axis so that no index array of the whole is held.

    Half-way counts from TIE below it: rounding noise must not decide which neighbour a voxel gets. The outer
    faces belong to the array, as in `_interpolated`.
    """
    result = np.empty((array.shape[0], *shape), array.dtype)
    extent = np.asarray(array.shape[1:])[:, None, None, None]
    j, k = np.arange(shape[1]), np.arange(shape[2])
    plane = matrix[:3, 1][:, None, None] * j[None, :, None] + matrix[:3, 2][:, None, None] * k[None, None, :]
    rows = max(1, CHUNK_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], rows):
        i = np.arange(start, min(start + rows, shape[0]))
        where = matrix[:3, 0][:, None] * i[None, :] + matrix[:3, 3][:, None] + (0.5 + TIE)
        exact = where[:, :, None, None] + plane[:, None]
        inside = np.all((exact >= TIE - WHOLE) & (exact <= extent + TIE + WHOLE), axis=0)
        index = np.clip(np.floor(exact, out=exact), 0, extent - 1, out=exact).astype(np.intp)
        block = result[:, start : start + len(i)]
        if inside.all():
            block[:] = array[:, index[0], index[1], index[2]]
        else:
            block[:] = _filled(array, (1, 1, 1), fill)
            a, b, c = (index[axis][inside] for axis in range(3))
            block[:, inside] = array[:, a, b, c]
    return result


def _interpolated(
    array: Array,
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    interpolation: Literal["linear", "cubic"],
    fill: float,
) -> Array:
    """Linear or cubic B-spline interpolation by SimpleITK, one channel at a time.

    Up to half a voxel beyond the outermost voxel centres the edge value is held: a voxel is a small box, and
    a grid that covers the same extent must not lose its rim.
    """
    import SimpleITK as sitk

    reach = REACH[interpolation]
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation((matrix[:3, 3] + reach).tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in shape])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear if interpolation == "linear" else sitk.sitkBSpline)
    resampler.SetDefaultPixelValue(float(fill))
    resampler.SetOutputPixelType(sitk.sitkFloat32)

    # whole numbers of two bytes are computed with as they are: the same values from half the memory
    small = interpolation == "linear" and array.dtype.kind in "iu" and array.dtype.itemsize <= 2
    kind = array.dtype.newbyteorder("=") if small else np.dtype(np.float32)
    result = np.empty((array.shape[0], *shape), np.float32)
    for channel, values in enumerate(array):
        moved = resampler.Execute(sitk.GetImageFromArray(_edge_held(values, reach, kind)))
        result[channel] = sitk.GetArrayViewFromImage(moved).transpose(2, 1, 0)
    _fill_outside(result, matrix, array.shape[1:], fill)
    return result


def _edge_held(values: Array, reach: int, kind: np.dtype[Any]) -> Array:
    """Copy `values[i, j, k]` to `[k, j, i]` as `kind`, with `reach` voxels of the edge value on each side.

    One copy where np.pad and a transposition would take three.
    """
    padded = np.empty([n + 2 * reach for n in reversed(values.shape)], kind)
    padded[reach:-reach, reach:-reach, reach:-reach] = values.T
    for axis in range(3):
        along = np.moveaxis(padded, axis, 0)
        along[:reach] = along[reach]
        along[-reach:] = along[-reach - 1]
    return padded


def _fill_outside(
    result: NDArray[np.float32], matrix: NDArray[np.float64], extent: tuple[int, ...], fill: float
) -> None:
    """Set voxels whose centres lie beyond the array's outer faces to `fill`, one plane i at a time."""
    ends = [(0, n - 1) for n in result.shape[1:]]
    corners = np.array([[i, j, k, 1] for i in ends[0] for j in ends[1] for k in ends[2]]) @ matrix[:3].T
    low, high = -0.5 - WHOLE, np.asarray(extent) - 0.5 + WHOLE
    crossed = [
        axis for axis in range(3) if corners[:, axis].min() < low or corners[:, axis].max() > high[axis]
    ]
    if not crossed:
        return
    j, k = np.arange(result.shape[2])[:, None], np.arange(result.shape[3])[None, :]
    planes = {axis: matrix[axis, 1] * j + matrix[axis, 2] * k for axis in crossed}
    for i in range(result.shape[1]):
        outside = np.zeros(result.shape[2:], bool)
        for axis, plane in planes.items():
            position = plane + (matrix[axis, 0] * i + matrix[axis, 3])
            outside |= (position < low) | (position > high[axis])
        result[:, i, outside] = fill
