from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.volume import Grid, Volume

SIZE = (11, 7)  # columns, rows
VALUES = np.random.default_rng(3).integers(0, 4, SIZE).astype(np.uint8)


def write(path: Path, values: NDArray[np.generic], mode: str | None = None) -> Path:
    """Values `[x, y]` or `[x, y, channel]`."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(np.swapaxes(values, 0, 1)))
    if mode == "P":
        picture = picture.convert("L")
        picture.putpalette([channel for n in range(256) for channel in (n, 255 - n, n * 7 % 256)])
    picture.save(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Volume:
    return read(write(tmp_path / "image.png", np.zeros(SIZE, np.uint8)))


def test_grey_values_and_palette_entries_are_labels(tmp_path: Path, image: Volume) -> None:
    for mode in (None, "P"):
        found = read_segmentation(write(tmp_path / "mask.png", VALUES, mode), onto=image)
        assert np.array_equal(found.array[0, :, :, 0], VALUES)
        assert [label.name for label in found.labels] == ["label 1", "label 2", "label 3"]


def test_sixteen_bits_and_tiff(tmp_path: Path, image: Volume) -> None:
    wide = VALUES.astype(np.uint16) * 300
    for name in ("mask.png", "mask.tif"):
        found = read_segmentation(write(tmp_path / name, wide), onto=image)
        assert np.array_equal(found.array[0, :, :, 0], wide)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_black_and_white_is_one_label(tmp_path: Path, image: Volume, dtype: type) -> None:
    mask = VALUES > 1
    values = mask if dtype is np.bool_ else (mask * 255).astype(np.uint8)
    found = read_segmentation(write(tmp_path / "mask.png", values), onto=image)
    assert np.array_equal(found.mask("label 1")[:, :, 0], mask)


def test_smoothed_edges_are_refused_unless_they_are_named(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "mask.png", np.array([0, 130, 233, 255], np.uint8)[VALUES])
    with pytest.raises(InputError, match="smoothed edges or labels"):
        read_segmentation(path, onto=image)
    names = '{"labels": {"130": "axon", "233": "myelin", "255": "ignore"}}'
    (tmp_path / "mask.json").write_text(names, encoding="ascii")
    assert [label.name for label in read_segmentation(path, onto=image).labels] == [
        "axon",
        "myelin",
        "ignore",
    ]


def test_colours_and_transparency_are_refused_and_grey_in_three_channels_is_not(
    tmp_path: Path, image: Volume
) -> None:
    grey = np.repeat(VALUES[..., None], 3, axis=2)
    found = read_segmentation(write(tmp_path / "grey.png", grey), onto=image)
    assert np.array_equal(found.array[0, :, :, 0], VALUES)
    grey[0, 0] = (1, 2, 3)
    with pytest.raises(InputError, match="a mask in colours"):
        read_segmentation(write(tmp_path / "colours.png", grey), onto=image)
    alpha = np.concatenate([np.repeat(VALUES[..., None], 3, axis=2), VALUES[..., None]], axis=2)
    with pytest.raises(InputError, match="transparent"):
        read_segmentation(write(tmp_path / "alpha.png", alpha), onto=image)


def test_other_sizes_are_refused(tmp_path: Path, image: Volume) -> None:
    with pytest.raises(GeometryError, match="7 x 11 pixels, the image has 11 x 7 x 1"):
        read_segmentation(write(tmp_path / "mask.png", VALUES.T), onto=image)


def test_pages_lie_on_a_stack_of_pages_and_on_nothing_that_knows_its_sides(tmp_path: Path) -> None:
    import tifffile

    ids = np.random.default_rng(4).integers(0, 900, (*SIZE, 5)).astype(np.uint16)
    for name in ("image.tif", "mask.tif"):
        tifffile.imwrite(tmp_path / name, np.ascontiguousarray(ids.T), photometric="minisblack")
    image = read(tmp_path / "image.tif")
    assert np.array_equal(read_segmentation(tmp_path / "mask.tif", onto=image).array[0], ids)
    scan = Volume(image.array, Grid(image.grid.shape, np.eye(4)), ("ct",))
    with pytest.raises(GeometryError, match="nothing says how its pages lie in the patient"):
        read_segmentation(tmp_path / "mask.tif", onto=scan)
    flat = read(write(tmp_path / "image.png", np.zeros(SIZE, np.uint8)))
    with pytest.raises(GeometryError, match="11 x 7 x 5 pixels, the image has 11 x 7 x 1"):
        read_segmentation(tmp_path / "mask.tif", onto=flat)


def test_picture_with_a_scale(tmp_path: Path) -> None:
    scaled = read(write(tmp_path / "image.png", VALUES), pixel_size=0.5)
    found = read_segmentation(write(tmp_path / "mask.png", VALUES), onto=scaled)
    assert found.grid == scaled.grid


def test_real_masks(real_data: Path) -> None:
    folder = real_data / "em_axon_sem"
    masks = sorted(folder.rglob("*axon*.png"))
    assert masks
    picture = next(path for path in sorted(folder.rglob("*.png")) if "seg" not in path.name.lower())
    with pytest.raises(InputError, match="smoothed edges or labels"):
        read_segmentation(masks[0], onto=read(picture))
