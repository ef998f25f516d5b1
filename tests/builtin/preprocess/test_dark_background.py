from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import medseg
from medseg.builtin.preprocess.dark_background import DarkBackground
from medseg.volume import Grid, Volume


def picture(*channels: NDArray[np.generic]) -> Volume:
    array = np.stack(channels)[..., None]
    names = tuple(f"c{n}" for n in range(len(channels)))
    return Volume(array, Grid((*array.shape[1:3], 1), np.eye(4), "px"), names)


def spots(background: int, spot: int, *, share: float = 0.1) -> NDArray[np.uint8]:
    """So large a share of the picture is of objects."""
    values = np.full(1000, background, np.uint8)
    values[: round(1000 * share)] = spot
    return np.random.default_rng(0).permutation(values).reshape(25, 40)


def test_dark_objects_become_bright_ones() -> None:
    dark_on_bright = DarkBackground()(picture(spots(220, 40)))
    assert dark_on_bright.array.dtype == np.float32
    assert np.array_equal(dark_on_bright.array, picture(spots(40, 220)).array)


@pytest.mark.parametrize("share", [0.002, 0.1, 0.45])
def test_bright_objects_stay_as_they_are(share: float) -> None:
    volume = picture(spots(12, 200, share=share))
    assert np.array_equal(DarkBackground()(volume).array, volume.array)
    turned = DarkBackground()(picture(spots(200, 12, share=share)))
    assert np.array_equal(turned.array, volume.array)


def test_a_stained_picture_is_turned_as_a_whole_each_channel_in_its_range() -> None:
    """One channel in which nothing is seen, and one that alone would not be turned."""
    first, second = spots(200, 50), spots(180, 100)
    flat, other = np.full_like(first, 7), spots(90, 110)
    found = DarkBackground()(picture(first, second, flat, other)).array[..., 0]
    assert np.array_equal(found[0], 250.0 - first)
    assert np.array_equal(found[1], 280.0 - second)
    assert np.array_equal(found[2], flat)
    assert np.array_equal(found[3], 200.0 - other)


def test_a_picture_of_one_value_stays() -> None:
    volume = picture(np.full((5, 4), 255, np.uint8))
    assert np.array_equal(DarkBackground()(volume).array, volume.array)


def test_single_outliers_do_not_decide() -> None:
    values = spots(200, 50)
    values[3, 4] = 255
    volume = picture(values.astype(np.float32) * np.where(values == 255, 100, 1))
    assert DarkBackground(tail=0.5)(volume).array.mean() < volume.array.mean()


def test_real_pictures_of_nuclei_have_them_bright(real_data: Path) -> None:
    """All 74, of which 14 are stained: nuclei on average brighter than what is around them."""
    folder, turned = real_data / "nuclei_dsb2018", 0
    for path in sorted((folder / "images").glob("*.png")):
        volume = medseg.read(path)
        colours = volume.replace(array=volume.array[:3], channels=volume.channels[:3])
        found = DarkBackground()(colours).array.mean(axis=0)
        inside = medseg.read(folder / "labels" / path.name).array[0] > 0
        assert found[inside].mean() > found[~inside].mean(), path.name
        turned += not np.array_equal(found, colours.array.astype(np.float32).mean(axis=0))
    assert turned == 14
