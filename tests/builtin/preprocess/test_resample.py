from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter  # noqa: TID253

from medseg.builtin.preprocess.resample import Resample
from medseg.errors import GeometryError
from medseg.sampling import Interpolation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]


def ramp(grid: Grid, slope: Sequence[float] = (0.5, -2.0, 3.0)) -> NDArray[np.float32]:
    """A linear function of the position in mm, which linear and cubic interpolation reproduce exactly."""
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.asarray((world @ np.asarray(slope) + 100)[None], np.float32)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 2.0, 1.3), (3.0, 3.0, 3.0)])
def test_extent_stays_exactly(
    spacing: tuple[float, float, float], oblique: MakeGrid, sheared: MakeGrid
) -> None:
    for make in (oblique, sheared):
        volume = Volume(np.zeros((1, 20, 18, 9), np.float32), make((20, 18, 9), (0.9, 0.9, 2.5)))
        there = Resample(spacing=spacing)(volume).grid
        assert np.allclose(there.corners(), volume.grid.corners(), atol=1e-9)
        assert there.spacing == pytest.approx(spacing, rel=0.1)
        assert not there.same_as(volume.grid)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("to", [(0.8, 0.8, 0.8), (2.0, 2.5, 3.0), (0.5, 3.0, 5.0)])
def test_a_ramp_stays_a_ramp(
    interpolation: Interpolation, to: tuple[float, float, float], oblique: MakeGrid, sheared: MakeGrid
) -> None:
    for make in (oblique, sheared):
        grid = make((30, 28, 12), (1.0, 1.0, 5.0))
        moved = Resample(spacing=to, interpolation=interpolation)(Volume(ramp(grid), grid))
        expected = ramp(moved.grid)
        # near the faces the edge value is held (and a spline feels the kink), so the inner part decides
        where = grid.to_index(moved.grid.to_world(np.moveaxis(np.indices(moved.grid.shape), 0, -1)))
        margin = np.array([0, 0, 0]) if interpolation == "linear" else np.array([8, 8, 0])
        inner = np.all((where >= margin) & (where <= np.array(grid.shape) - 1 - margin), axis=-1)
        assert inner.sum() > 50
        assert np.abs(moved.array - expected)[0, inner].max() < 2e-3
        assert moved.array.dtype == np.float32


def test_nearest_keeps_whole_numbers_and_picks_the_nearest(straight: MakeGrid) -> None:
    grid = straight((2, 1, 1), (2.0, 1.0, 1.0))
    volume = Volume(np.array([3, 8], np.uint8).reshape(1, 2, 1, 1), grid)
    moved = Resample(spacing=1, interpolation="nearest")(volume)
    assert moved.array.dtype == np.uint8
    assert moved.array.ravel().tolist() == [3, 3, 8, 8]


def test_linear_known_answer(straight: MakeGrid) -> None:
    volume = Volume(np.array([0, 8], np.int16).reshape(1, 2, 1, 1), straight((2, 1, 1), (2.0, 1.0, 1.0)))
    moved = Resample(spacing=(1, None, None))(volume)
    assert moved.array.ravel().tolist() == [0, 2, 6, 8]  # a quarter and three quarters; edges held
    assert moved.array.dtype == np.float32


def test_same_spacing_changes_nothing(straight: MakeGrid, two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(straight((6, 5, 4), (0.8, 0.8, 3.0)))
    for spacing in (0.8, 0.8, 3.0), (None, None, None), (None, 0.8, 3.05):
        assert Resample(spacing=spacing, antialias=True, interpolation="cubic")(volume) is volume


def test_null_keeps_an_axis_and_channels_are_independent(
    straight: MakeGrid, two_channels: Callable[[Grid], Volume]
) -> None:
    volume = two_channels(straight((8, 6, 5), (1.0, 1.0, 4.0)))
    step = Resample(spacing=(2.0, 1.5, None))
    both = step(volume)
    assert both.grid.shape == (4, 4, 5)
    assert both.channels == ("ct", "pet")
    for channel in range(2):
        alone = step(Volume(volume.array[channel : channel + 1], volume.grid))
        assert np.array_equal(both.array[channel], alone.array[0])


def stripe(grid: Grid) -> Volume:
    """One bright slice of thick ones: what a spline rings around."""
    array = np.zeros((1, *grid.shape), np.float32)
    array[..., grid.shape[2] // 2] = 100
    return Volume(array, grid)


def test_thick_slices_do_not_ring(straight: MakeGrid) -> None:
    volume = stripe(straight((12, 12, 15), (1.0, 1.0, 5.0)))
    moved = Resample(spacing=1.0, interpolation="cubic")(volume)
    assert moved.array.min() > -1e-3
    assert moved.array.max() < 100.001
    # negative control: the same image as one of thin slices (ratio below `thick`) does ring
    ringing = Resample(spacing=1.0, interpolation="cubic", thick=10)(volume)
    assert ringing.array.min() < -5


@pytest.mark.parametrize(("ratio", "rings"), [(3.0, True), (3.01, False)])
def test_thick_begins_beyond_the_ratio(ratio: float, rings: bool, straight: MakeGrid) -> None:
    volume = stripe(straight((12, 12, 15), (0.7, 0.7, 0.7 * ratio)))
    moved = Resample(spacing=0.5, interpolation="cubic")(volume)
    assert bool(moved.array.min() < -5) is rings


def test_cubic_is_closer_to_a_smooth_image_than_linear(straight: MakeGrid) -> None:
    def wave(grid: Grid) -> NDArray[np.float32]:
        x, y, z = np.moveaxis(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
        return np.asarray((np.sin(x / 2) + np.cos(y / 2) + np.sin(z / 8))[None], np.float32)

    grid = straight((40, 40, 20), (1.0, 1.0, 4.0))
    error = {}
    for kind in ("linear", "cubic"):
        moved = Resample(spacing=(0.6, 0.6, None), interpolation=kind)(Volume(wave(grid), grid))
        error[kind] = np.abs(moved.array - wave(moved.grid))[0, 8:-8, 8:-8].max()
    assert error["cubic"] < 0.2 * error["linear"]


def test_antialias_removes_what_the_new_spacing_cannot_show(straight: MakeGrid) -> None:
    grid = straight((63, 8, 8))
    chequered = np.zeros((1, *grid.shape), np.float32)
    chequered[:, ::2] = 100  # one voxel bright, one dark: finer than 3 mm voxels can show
    plain = Resample(spacing=(3.0, None, None))(Volume(chequered, grid))
    smooth = Resample(spacing=(3.0, None, None), antialias=True)(Volume(chequered, grid))
    assert np.ptp(plain.array) == 100  # an alias: full contrast at a false period
    assert np.ptp(smooth.array[:, 3:-3]) < 5
    assert smooth.array[:, 3:-3].mean() == pytest.approx(50, abs=2)


def test_antialias_is_the_documented_gaussian(
    straight: MakeGrid, two_channels: Callable[[Grid], Volume]
) -> None:
    volume = two_channels(straight((9, 9, 9)))
    moved = Resample(spacing=(3.0, 0.5, None), antialias=True)(volume)
    for channel in range(2):
        blurred = gaussian_filter(volume.array[channel], (1, 0, 0), mode="nearest")
        expected = Resample(spacing=(3.0, 0.5, None))(Volume(blurred[None], volume.grid))
        assert np.allclose(moved.array[channel], expected.array[0], atol=1e-4)


def test_input_is_not_written_to(straight: MakeGrid, two_channels: Callable[[Grid], Volume]) -> None:
    volume = two_channels(straight((8, 8, 8)))
    before = volume.array.copy()
    for kind in ("linear", "cubic", "nearest"):
        Resample(spacing=2, interpolation=kind, antialias=True)(volume)
    assert np.array_equal(volume.array, before)


def test_pixels_are_refused_by_name() -> None:
    picture = Volume(np.zeros((1, 4, 4, 1), np.uint8), Grid((4, 4, 1), np.eye(4), "px"))
    with pytest.raises(GeometryError, match="resample needs a scale"):
        Resample(spacing=1)(picture)


@pytest.mark.parametrize("spacing", [0, -1, (1, 1), (1, 0, 1), "fine", [1, 1, 1, 1], None])
def test_what_is_no_spacing_is_refused(spacing: object) -> None:
    with pytest.raises(ValidationError, match="spacing"):
        Resample.model_validate({"spacing": spacing})


def test_schema_allows_one_number_or_three() -> None:
    schema = Resample.model_json_schema()["properties"]["spacing"]
    assert {choice["type"] for choice in schema["anyOf"]} == {"number", "array"}
    assert Resample.model_validate({"spacing": [1, None, 2.5]}).spacing == (1.0, None, 2.5)
    assert Resample.model_validate({"spacing": 2}).spacing == (2.0, 2.0, 2.0)
