from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.preprocess.pad import Pad
from medseg.errors import GeometryError
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]


def image(grid: Grid) -> Volume:
    """A CT-like and a PET-like channel."""
    random = np.random.default_rng(3)
    array = np.stack([random.integers(-1024, 2000, grid.shape), random.integers(5, 90, grid.shape)])
    return Volume(array.astype(np.int16), grid, ("ct", "pet"))


def test_margin_is_in_mm_and_positions_stay(oblique: MakeGrid) -> None:
    volume = image(oblique((6, 5, 4), (1.0, 2.0, 5.0)))
    padded = Pad(margin_mm=6)(volume)
    assert padded.grid.shape == (6 + 12, 5 + 6, 4 + 4)
    assert np.allclose(padded.grid.to_world([6, 3, 2]), volume.grid.to_world([0, 0, 0]))
    assert np.array_equal(padded.array[:, 6:12, 3:8, 2:6], volume.array)


def test_minimum_shape_centres_with_the_odd_voxel_at_the_far_end(straight: MakeGrid) -> None:
    volume = image(straight((6, 5, 4)))
    padded = Pad(minimum_shape=(9, 5, 3))(volume)
    assert padded.grid.shape == (9, 5, 4)
    assert np.array_equal(padded.array[:, 1:7], volume.array)


def test_margin_first_then_minimum_shape(straight: MakeGrid) -> None:
    padded = Pad(minimum_shape=(10, 8, 4), margin_mm=1)(image(straight((6, 5, 4))))
    assert padded.grid.shape == (10, 8, 6)
    assert np.allclose(padded.grid.to_world([2, 1, 1]), straight((6, 5, 4)).to_world([0, 0, 0]))


def test_each_channel_is_filled_with_its_own_smallest_value(straight: MakeGrid) -> None:
    volume = image(straight((6, 5, 4)))
    padded = Pad(margin_mm=1)(volume)
    assert padded.array.dtype == np.int16
    assert padded.array[0, 0].tolist() == np.full((7, 6), volume.array[0].min()).tolist()
    assert padded.array[1, 0].tolist() == np.full((7, 6), volume.array[1].min()).tolist()


@pytest.mark.parametrize(("fill", "kind"), [(-7, np.int16), (0.5, np.float32), (1e6, np.float32)])
def test_fill_value_survives_the_type_of_the_image(fill: float, kind: type, straight: MakeGrid) -> None:
    volume = image(straight((6, 5, 4)))
    padded = Pad(margin_mm=1, fill=fill)(volume)
    assert padded.array.dtype == kind
    assert set(padded.array[:, 0].ravel().tolist()) == {fill}
    assert np.array_equal(padded.array[:, 1:-1, 1:-1, 1:-1], volume.array)


def test_crop_takes_the_padding_off_again(sheared: MakeGrid) -> None:
    volume = image(sheared((6, 5, 4), (0.9, 0.9, 3.0)))
    padded = Pad(margin_mm=5, minimum_shape=(40, 2, 2))(volume)
    back = padded.onto(volume.grid)
    assert np.array_equal(back.array, volume.array)
    assert back.grid.same_as(volume.grid)


def test_large_enough_image_comes_back_as_it_is(straight: MakeGrid) -> None:
    volume = image(straight((6, 5, 4)))
    assert Pad(minimum_shape=(6, 5, 4))(volume) is volume


def test_pixels_can_be_padded_to_a_shape_but_not_by_mm() -> None:
    picture = Volume(np.zeros((1, 4, 4, 1), np.uint8), Grid((4, 4, 1), np.eye(4), "px"))
    assert Pad(minimum_shape=(8, 8, 1))(picture).grid.shape == (8, 8, 1)
    with pytest.raises(GeometryError, match="pad's margin_mm needs a scale"):
        Pad(margin_mm=2)(picture)


@pytest.mark.parametrize(
    "parameters", [{}, {"fill": 3}, {"margin_mm": -1}, {"minimum_shape": [0, 1, 1]}, {"mm": 3}]
)
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Pad.model_validate(parameters)
