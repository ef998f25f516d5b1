from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.preprocess.crop_foreground import CropForeground
from medseg.errors import GeometryError, InputError
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]


def box_image(grid: Grid, value: float = 60, background: float = -1000) -> Volume:
    """A box from voxel (10, 12, 5) to (20, 18, 8), exclusive, and a second channel that must follow."""
    array = np.full((2, *grid.shape), background, np.int16)
    array[0, 10:20, 12:18, 5:8] = value
    array[1] = np.arange(grid.shape[2])
    return Volume(array, grid, ("ct", "slice"))


def test_otsu_crops_air_with_margin_in_mm_per_axis(straight: MakeGrid) -> None:
    volume = box_image(straight((40, 40, 20), (1.0, 2.0, 4.0)))
    cropped = CropForeground(margin_mm=7)(volume)
    assert cropped.grid.shape == (
        10 + 2 * 7,
        6 + 2 * 4,
        3 + 2 * 2,
    )  # 7 mm: 7, 3.5 and 1.75 voxels, rounded up
    assert np.allclose(cropped.grid.affine[:3, 3], volume.grid.to_world([3, 8, 3]))
    assert np.array_equal(cropped.array, volume.array[:, 3:27, 8:22, 3:10])
    assert cropped.array.dtype == np.int16


def test_margin_ends_at_the_image(straight: MakeGrid) -> None:
    volume = box_image(straight((40, 40, 20)))
    cropped = CropForeground(margin_mm=11)(volume)
    assert cropped.grid.shape == (10 + 10 + 11, 6 + 11 + 11, 5 + 3 + 11)


def test_whole_voxel_margin_is_not_rounded_up_by_the_affine() -> None:
    affine = np.diag([np.float64(np.float32(0.8)), 0.8, 0.8, 1])  # as stored in a NIfTI header
    cropped = CropForeground(margin_mm=8.0, above=0)(box_image(Grid((60, 60, 60), affine)))
    assert cropped.grid.shape[0] == 10 + 2 * 10


def test_margin_holds_square_to_the_faces_of_a_sheared_grid(sheared: MakeGrid) -> None:
    grid = sheared((40, 40, 40), (1.0, 1.0, 4.0))
    cropped = CropForeground(margin_mm=8, above=0)(box_image(grid))
    # j leans by 15 degrees against the i-k faces: 8 mm square to them are 8 / cos(15) = 8.28 mm, 9 voxels
    assert cropped.grid.shape == (10 + 16, 6 + 18, 3 + 4)


def test_threshold_decides(straight: MakeGrid) -> None:
    volume = box_image(straight((40, 40, 20)))
    assert CropForeground(above=59, margin_mm=0)(volume).grid.shape == (10, 6, 3)
    with pytest.raises(InputError, match="no voxel is above 60, the largest is 60"):
        CropForeground(above=60)(volume)


def test_all_foreground_comes_back_as_it_is(straight: MakeGrid) -> None:
    volume = box_image(straight((40, 40, 20)))
    assert CropForeground(above=-2000)(volume) is volume


def test_constant_image_has_no_foreground(straight: MakeGrid) -> None:
    with pytest.raises(InputError, match="one value 5"):
        CropForeground()(Volume(np.full((1, 4, 4, 4), 5, np.int16), straight((4, 4, 4))))


def test_without_a_threshold_otsu_parts_air_from_tissue(straight: MakeGrid) -> None:
    random = np.random.default_rng(8)
    array = random.normal(-950, 40, (1, 50, 50, 50)).astype(np.float32)
    array[0, 12:40, 20:41, 5:33] += 1000
    cropped = CropForeground(margin_mm=0)(Volume(array, straight((50, 50, 50))))
    assert cropped.grid.shape == (28, 21, 28)


def test_input_is_not_written_to_and_floats_work(straight: MakeGrid) -> None:
    volume = box_image(straight((40, 40, 20)))
    as_float = volume.replace(array=volume.array.astype(np.float32))
    before = volume.array.copy()
    assert CropForeground()(as_float).grid == CropForeground()(volume).grid
    assert np.array_equal(volume.array, before)


def test_margin_in_pixels_is_refused_but_none_is_fine() -> None:
    picture = box_image(Grid((40, 40, 20), np.eye(4), "px"))
    with pytest.raises(GeometryError, match="margin_mm needs a scale"):
        CropForeground()(picture)
    assert CropForeground(margin_mm=0)(picture).grid.shape == (10, 6, 3)


def test_negative_margin_is_refused() -> None:
    with pytest.raises(ValidationError, match="margin_mm"):
        CropForeground(margin_mm=-1)
