from typing import Any, Literal

import numpy as np
import pytest
import scipy.ndimage  # noqa: TID253 - the independent reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import affine_of, grids, rotation

from medseg.errors import UsageError
from medseg.sampling import sample, turned, whole_voxel_map

FILL = -77.0
steady = settings(max_examples=60, deadline=None, derandomize=True)


def positions(matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Old index `[3, *shape]` of every new voxel."""
    index = np.indices(shape, float).reshape(3, -1)
    return np.asarray((matrix[:3, :3] @ index + matrix[:3, 3:]).reshape(3, *shape))


def matrices() -> dict[str, NDArray[np.float64]]:
    """Index maps that interpolate: oblique, sheared, finer, coarser, flipped."""
    shear = np.array([[1.0, 0.3, 0.0], [0.0, 1.0, -0.4], [0.0, 0.0, 1.0]])
    return {
        "finer": affine_of(np.diag([0.4, 0.55, 0.7]), (-0.3, -0.2, -0.1)),
        "coarser": affine_of(np.diag([1.7, 2.2, 1.3]), (0.4, 0.1, 0.2)),
        "oblique": affine_of(rotation((1, 2, 3), 25) * 0.8, (2.0, 1.0, 3.0)),
        "sheared": affine_of(shear * 0.7, (1.5, 4.0, 0.3)),
        "flipped": affine_of(np.diag([-0.6, 0.6, -0.9]), (10.8, 0.2, 8.7)),
        "turned": affine_of(np.array([[0, 0.5, 0], [0, 0, 0.6], [0.7, 0, 0]]), (1.3, 2.2, 0.1)),
    }


def random_image(dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(1).normal(0, 1000, (2, 12, 11, 10)).astype(dtype)


def is_inside(where: NDArray[np.float64], extent: tuple[int, ...]) -> NDArray[np.bool_]:
    ends = np.asarray(extent)[:, None, None, None] - 0.5
    return np.asarray(np.all((where >= -0.5) & (where <= ends), axis=0))


@pytest.mark.parametrize("name", matrices())
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.float64])
def test_linear_equals_an_independent_reference(name: str, dtype: Any) -> None:
    array, matrix, shape = random_image(dtype), matrices()[name], (9, 14, 8)
    where = positions(matrix, shape)
    inside = is_inside(where, array.shape[1:])
    assert inside.mean() > 0.2
    result = sample(array, matrix, shape, interpolation="linear", fill=FILL)
    assert result.dtype == np.float32
    for values, got in zip(array, result, strict=True):
        wanted = scipy.ndimage.map_coordinates(values.astype(float), where, order=1, mode="nearest")
        np.testing.assert_allclose(got[inside], wanted[inside], rtol=1e-4, atol=0.05)  # of values about 1000
        assert np.all(got[~inside] == FILL)


def test_the_reference_tells_a_shift_of_a_hundredth_voxel() -> None:
    array, matrix, shape = random_image(), matrices()["oblique"], (9, 14, 8)
    where = positions(matrix, shape)
    inside = is_inside(where, array.shape[1:])
    result = sample(array, matrix, shape, interpolation="linear", fill=FILL)[0]
    shifted = scipy.ndimage.map_coordinates(array[0].astype(float), where + 0.01, order=1, mode="nearest")
    assert np.abs(result - shifted)[inside].max() > 5


@pytest.mark.parametrize("name", matrices())
def test_cubic_equals_an_independent_reference(name: str) -> None:
    # Both hold the edge value beyond the rim and both run the recursive B-spline filter (pole -0.268); they
    # differ in how far they hold it, 6 voxels here and 12 there: 0.268^6 is 4e-4 of the values, at the rim.
    array, matrix, shape = random_image(), matrices()[name], (9, 14, 8)
    where = positions(matrix, shape)
    inside = is_inside(where, array.shape[1:])
    result = sample(array, matrix, shape, interpolation="cubic", fill=FILL)
    for values, got in zip(array, result, strict=True):
        wanted = scipy.ndimage.map_coordinates(values.astype(float), where, order=3, mode="nearest")
        assert np.abs(got - wanted)[inside].max() < 1e-3 * np.abs(values).max()
        assert np.all(got[~inside] == FILL)


@pytest.mark.parametrize("name", matrices())
def test_nearest_equals_brute_force(name: str) -> None:
    array, matrix, shape = random_image(np.int16), matrices()[name], (9, 14, 8)
    result = sample(array, matrix, shape, interpolation="nearest", fill=FILL)
    assert result.dtype == np.int16
    where = positions(matrix, shape)
    for voxel in np.ndindex(*shape):
        i, j, k = voxel
        index = tuple(int(np.floor(x + 0.5 + 1e-9)) for x in where[:, i, j, k])
        inside = all(
            0 <= n < extent for n, extent in zip(index, array.shape[1:], strict=True)
        )  # no ties here
        a, b, c = index
        wanted = array[:, a, b, c].tolist() if inside else [FILL, FILL]
        assert result[:, i, j, k].tolist() == wanted


def test_nearest_takes_the_higher_voxel_half_way_between_two() -> None:
    array = np.arange(4, dtype=np.uint8).reshape(1, 4, 1, 1)
    halves = affine_of(np.diag([1.0, 1, 1]), (0.5, 0, 0))
    result = sample(array, halves, (5, 1, 1), interpolation="nearest", fill=9).ravel()
    assert result.tolist() == [1, 2, 3, 3, 9]  # the outer face belongs to the last voxel


def test_rounding_noise_does_not_decide_a_tie() -> None:
    array = np.arange(400, dtype=np.uint16).reshape(1, 400, 1, 1)
    for noise in (-1e-6, 0, 1e-6):
        matrix = affine_of(np.diag([2 / 3, 1, 1]), (1 / 6 - 1 / 3 + noise, 0, 0))
        result = sample(array, matrix, (590, 1, 1), interpolation="nearest", fill=0).ravel()
        assert result.tolist() == [int(np.floor((i + 0.5) * 2 / 3 + 1e-5)) for i in range(590)]


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_a_constant_image_stays_constant(interpolation: Literal["linear", "cubic", "nearest"]) -> None:
    array = np.full((1, 12, 11, 10), 42.0, np.float32)
    for matrix in matrices().values():
        shape = (3, 3, 3)
        centred = matrix.copy()
        centred[:3, 3] = np.array([5.5, 5, 4.5]) - matrix[:3, :3] @ (1, 1, 1)
        result = sample(array, centred, shape, interpolation=interpolation, fill=FILL)
        np.testing.assert_allclose(result, 42.0, rtol=1e-5)


@steady
@given(slope=st.tuples(*[st.floats(-50, 50)] * 3), name=st.sampled_from(sorted(matrices())))
def test_linear_reproduces_a_ramp(slope: tuple[float, float, float], name: str) -> None:
    matrix, shape = matrices()[name], (9, 14, 8)
    index = np.indices((12, 11, 10), float)
    array = np.tensordot(slope, index, 1)[None].astype(np.float32)
    where = positions(matrix, shape)
    ends = np.array(array.shape[1:])[:, None, None, None] - 1
    away_from_rim = np.all((where >= 0) & (where <= ends), axis=0)
    result = sample(array, matrix, shape, interpolation="linear", fill=FILL)[0]
    largest = 33 * 50  # of the ramp; float32 keeps 24 bits
    np.testing.assert_allclose(
        result[away_from_rim], np.tensordot(slope, where, 1)[away_from_rim], atol=largest * 2**-22
    )


def test_the_rim_of_half_a_voxel_holds_the_edge_value_and_no_more() -> None:
    array = np.array([10.0, 20.0], np.float32).reshape(1, 2, 1, 1)
    matrix = affine_of(np.diag([0.2, 1, 1]), (-0.7, 0, 0))
    result = sample(array, matrix, (13, 1, 1), interpolation="linear", fill=FILL).ravel()
    #        at -0.7  -0.5 -0.3 -0.1 0.1 0.3 0.5 0.7 0.9 1.1 1.3 1.5 1.7
    expected = [FILL, 10, 10, 10, 11, 13, 15, 17, 19, 20, 20, 20, FILL]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_a_grid_elsewhere_gets_the_fill(interpolation: Any, scale: float) -> None:
    array = random_image(np.int16)
    for far in (100.0, -100.0, 1e6):
        matrix = affine_of(np.eye(3) * scale, (far, 0, 0))
        result = sample(array, matrix, (4, 5, 6), interpolation=interpolation, fill=FILL)
        assert result.shape == (2, 4, 5, 6)
        assert np.all(result == FILL)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_whole_voxel_maps_copy_values_and_type(dtype: Any, interpolation: Any) -> None:
    array = random_image(np.float64).astype(dtype)
    matrix = affine_of(np.array([[0.0, -1, 0], [0, 0, 1], [1, 0, 0]]), (9, 2, 1))
    matrix += np.pad(np.full((3, 3), 1e-6), (0, 1))  # as large as rounding makes it
    result = sample(array, matrix, (8, 7, 6), interpolation=interpolation, fill=0)
    assert result.dtype == dtype
    for i, j, k in np.ndindex(8, 7, 6):
        assert result[:, i, j, k].tobytes() == array[:, 9 - j, 2 + k, 1 + i].tobytes()


def test_whole_voxel_map_is_refused_just_above_a_thousandth_voxel() -> None:
    shape = (101, 3, 3)
    for drift, whole in ((0.9e-5, True), (1.1e-5, False)):
        matrix = affine_of(np.diag([1 + drift, 1, 1]))
        assert (whole_voxel_map(matrix, shape) is not None) == whole
    for offset, whole in ((0.9e-3, True), (1.1e-3, False)):
        assert (whole_voxel_map(affine_of(np.eye(3), (0, offset, 0)), shape) is not None) == whole


def test_a_fill_that_the_type_cannot_hold_is_refused_where_it_is_needed() -> None:
    array = np.zeros((1, 3, 3, 3), np.uint8)
    half = affine_of(np.eye(3), (0.6, 0, 0))
    for matrix, interpolation in ((affine_of(np.eye(3), (2, 0, 0)), "linear"), (half, "nearest")):
        for fill in (-1024.0, 256.0, 0.5, np.nan):
            with pytest.raises(UsageError, match="uint8"):
                sample(array, matrix, (3, 3, 3), interpolation=interpolation, fill=fill)  # type: ignore[arg-type]  # a loop over literals
    inside = sample(array, affine_of(np.eye(3)), (2, 2, 2), interpolation="linear", fill=-1024)
    assert inside.dtype == np.uint8
    assert sample(array, half, (3, 3, 3), interpolation="linear", fill=-1024).min() == -1024


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 1), (7, 1, 8)])
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_axes_of_one_voxel_are_held(shape: tuple[int, int, int], interpolation: Any) -> None:
    array = np.full((1, *shape), 5.0, np.float32)
    matrix = affine_of(np.diag([0.5, 0.5, 0.5]), (-0.25, -0.25, -0.25))
    double = (2 * shape[0], 2 * shape[1], 2 * shape[2])
    np.testing.assert_allclose(
        sample(array, matrix, double, interpolation=interpolation, fill=0), 5.0, rtol=1e-5
    )


@steady
@given(grid=grids(), onto=grids())
def test_nothing_is_made_up(grid: Any, onto: Any) -> None:
    array = np.random.default_rng(2).normal(0, 1, (1, *grid.shape)).astype(np.float32)
    result = sample(array, grid.index_map(onto), onto.shape, interpolation="linear", fill=0.0)
    assert result.min() >= min(0.0, array.min()) - 1e-5
    assert result.max() <= max(0.0, array.max()) + 1e-5


def test_turned_is_a_view() -> None:
    array = random_image()
    view = turned(array, (2, 0, 1), np.array([1, -1, 1]))
    assert np.shares_memory(view, array)
    np.testing.assert_array_equal(view, array.transpose(0, 3, 1, 2)[:, :, ::-1])


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_memory_stays_near_that_of_the_output(interpolation: Any) -> None:
    import tracemalloc

    array = np.zeros((1, 96, 96, 96), np.int16)
    matrix = affine_of(rotation((0, 0, 1), 10) * 0.5, (10.0, -5.0, 0.0))
    shape = (160, 160, 160)
    sample(array, matrix, (2, 2, 2), interpolation=interpolation, fill=0)  # imports
    tracemalloc.start()
    result = sample(array, matrix, shape, interpolation=interpolation, fill=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    workspace = 60 << 20 if interpolation == "nearest" else 12 << 20  # index arrays of one chunk; planes
    assert peak < result.nbytes + workspace
