"""Read an array at the voxels of another grid: the one place where values are interpolated.

Everything here works in index space. `matrix` takes a voxel index of the new grid to a (fractional) index
of the array, so that oblique, sheared and anisotropic grids need no special case.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interpolation", "sample", "whole_voxel_map"]

Interpolation = Literal["nearest", "linear", "cubic"]
Array = NDArray[Any]

WHOLE = 1e-3  # voxels; Grid.same_as uses the same tolerance
CHUNK_VOXELS = 1 << 24


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
    not interpolated, and keep their type; nearest keeps it too, linear and cubic give float32.
    """
    whole = whole_voxel_map(matrix, shape)
    if whole is not None:
        return _copied(array, *whole, shape=shape, fill=fill)
    if interpolation == "nearest":
        return _nearest(array, matrix, shape, fill)
    return _interpolated(array, matrix, shape, interpolation=interpolation, fill=fill)


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
    turned = array.transpose(0, *(1 + axis for axis in order))
    into: list[slice] = [slice(None)]
    out_of: list[slice] = [slice(None)]
    for axis in range(3):
        extent, start, sign = turned.shape[1 + axis], int(offset[order[axis]]), int(signs[axis])
        # old index = sign * new + start must lie in [0, extent)
        low, high = (-start, extent - start) if sign > 0 else (start - extent + 1, start + 1)
        low, high = max(low, 0), min(high, shape[axis])
        if low >= high:
            return np.full((array.shape[0], *shape), fill, array.dtype)
        first, last = sign * low + start, sign * (high - 1) + start
        into.append(slice(low, high))
        stop = last + sign
        out_of.append(slice(first, stop if stop >= 0 else None, sign))
    block = turned[tuple(out_of)]
    if block.shape[1:] == shape:
        return np.ascontiguousarray(block)
    result = np.full((array.shape[0], *shape), fill, array.dtype)
    result[tuple(into)] = block
    return result


def _nearest(
    array: Array, matrix: NDArray[np.float64], shape: tuple[int, int, int], fill: float
) -> Array:
    """Read the nearest voxel; in chunks along the first axis so that no index array of the whole is held."""
    result = np.full((array.shape[0], *shape), fill, array.dtype)
    extent = np.asarray(array.shape[1:])
    j, k = np.arange(shape[1]), np.arange(shape[2])
    plane = matrix[:3, 1][:, None, None] * j[None, :, None] + matrix[:3, 2][:, None, None] * k[None, None, :]
    rows = max(1, CHUNK_VOXELS // max(1, shape[1] * shape[2] * 8))
    for start in range(0, shape[0], rows):
        i = np.arange(start, min(start + rows, shape[0]))
        where = matrix[:3, 0][:, None] * i[None, :] + matrix[:3, 3][:, None]
        index = np.floor(where[:, :, None, None] + plane[:, None] + 0.5).astype(np.int64)
        inside = np.all((index >= 0) & (index < extent[:, None, None, None]), axis=0)
        a, b, c = (index[axis][inside] for axis in range(3))
        result[:, start : start + len(i)][:, inside] = array[:, a, b, c]
    return result


def _interpolated(
    array: Array,
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    interpolation: Interpolation,
    fill: float,
) -> Array:
    """Linear or cubic B-spline interpolation by SimpleITK, one channel at a time.

    Up to half a voxel beyond the outermost voxel centres the edge value is held: a voxel is a small box, and
    a grid that covers the same extent must not lose its rim.
    """
    import SimpleITK as sitk

    reach = 1 if interpolation == "linear" else 2
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation((matrix[:3, 3] + reach).tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in shape])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear if interpolation == "linear" else sitk.sitkBSpline)
    resampler.SetDefaultPixelValue(float(fill))
    resampler.SetOutputPixelType(sitk.sitkFloat32)

    result = np.empty((array.shape[0], *shape), np.float32)
    for channel, values in enumerate(array):
        padded = np.pad(values.astype(np.float32, copy=False), reach, mode="edge")
        image = sitk.GetImageFromArray(padded.transpose(2, 1, 0))
        moved = resampler.Execute(image)
        result[channel] = sitk.GetArrayFromImage(moved).transpose(2, 1, 0)
    outside = _outside(matrix, array.shape[1:], shape)
    if outside is not None:
        result[:, outside] = fill
    return result


def _outside(
    matrix: NDArray[np.float64], extent: tuple[int, ...], shape: tuple[int, int, int]
) -> NDArray[np.bool_] | None:
    """Mark voxels whose centres lie beyond the array's outer faces; None where none does."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)])
    where = corners @ matrix[:3].T
    if np.all(where >= -0.5 - WHOLE) and np.all(where <= np.asarray(extent) - 0.5 + WHOLE):
        return None
    mask = np.zeros(shape, bool)
    axes = [np.arange(n) for n in shape]
    for row in range(3):
        position = (
            matrix[row, 0] * axes[0][:, None, None]
            + matrix[row, 1] * axes[1][None, :, None]
            + matrix[row, 2] * axes[2][None, None, :]
            + matrix[row, 3]
        )
        mask |= (position < -0.5 - WHOLE) | (position > extent[row] - 0.5 + WHOLE)
    return mask
