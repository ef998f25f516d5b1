import itertools
from typing import Any

import numpy as np
import pytest

from medseg.report.planes import informative_slices, planes_of
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Source, Volume

OBLIQUE = np.array([[0.9, -0.3, 0.1, -4], [0.3, 0.9, 0.2, 5], [-0.1, -0.2, 1.9, 6], [0, 0, 0, 1.0]])
ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*order)
]


def segmented(array: np.ndarray, grid: Grid, **fields: Any) -> Segmentation:
    labels = LabelTable(tuple(Label(int(v), f"label {v}") for v in np.unique(array) if v))
    return Segmentation(array[None], grid, fields.pop("labels", labels), **fields)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_is_seen_the_same_way(codes: str) -> None:
    rng = np.random.default_rng(4)
    grid = Grid((7, 9, 5), OBLIQUE)
    volume = Volume(rng.integers(0, 999, (1, *grid.shape)), grid)
    array = np.zeros(grid.shape, np.uint8)
    array[1, 2, 3] = 1
    segmentation = segmented(array, grid)
    turned = grid.reoriented(codes)
    other, labels = volume.onto(turned), segmentation.onto(turned)
    expected, seen = planes_of(volume, segmentation), planes_of(other, labels)
    assert [plane.name for plane in seen] == ["Axial", "Coronal", "Sagittal"]
    for one, two in zip(expected, seen, strict=True):
        assert np.array_equal(one.of(volume.array[0]), two.of(other.array[0]))
        assert two.size == pytest.approx(one.size)


def test_slices_are_in_radiological_convention() -> None:
    grid = Grid((4, 5, 6), np.eye(4))  # RAS
    volume = Volume(np.arange(120).reshape(1, 4, 5, 6), grid)
    axial, coronal, sagittal = planes_of(volume, segmented(np.zeros(grid.shape, np.uint8), grid))
    image = volume.array[0]
    i, j, k = informative_slices(segmented(np.zeros(grid.shape, np.uint8), grid))
    assert axial.of(image)[0, 0] == image[3, 4, k]  # upper left: right, anterior
    assert coronal.of(image)[0, 0] == image[3, j, 5]  # right, superior
    assert sagittal.of(image)[0, 0] == image[i, 4, 5]  # anterior, superior
    assert (axial.letters, coronal.letters, sagittal.letters) == ("RLAP", "RLSI", "APSI")
    assert axial.size == (4.0, 5.0)
    assert coronal.size == (4.0, 6.0)
    assert sagittal.size == (5.0, 6.0)


def test_a_caption_names_the_voxel_index_on_the_images_own_grid() -> None:
    grid = Grid((9, 9, 9), np.eye(4)).reoriented("SLP")  # i to superior, j to left, k to posterior
    array = np.zeros(grid.shape, np.uint8)
    array[3, 4, 5] = 1
    planes = planes_of(Volume(array[None], grid), segmented(array, grid))
    assert [plane.where for plane in planes] == ["i = 3", "k = 5", "j = 4"]
    assert all(plane.of(array).sum() == 1 for plane in planes)


def test_a_small_label_draws_the_slice_as_much_as_a_large_one() -> None:
    grid = Grid((40, 40, 40), np.eye(4))
    array = np.zeros(grid.shape, np.uint8)
    array[5:35, 5:35, 10:30] = 1
    array[20:22, 20:22, 13:15] = 2
    assert informative_slices(segmented(array, grid))[2] in (13, 14)


def test_slices_count_labels_of_any_value_and_objects() -> None:
    grid = Grid((6, 6, 6), np.eye(4))
    array = np.zeros(grid.shape, np.uint32)
    array[1, 2, 4] = 4_000_000_000
    assert informative_slices(segmented(array, grid)) == (1, 2, 4)
    table = LabelTable((Label(1, "cell"),))
    things = (Object(4_000_000_000, "cell"), Object(7, "cell"))
    objects = segmented(array, grid, labels=table, kinds=("objects",), objects=things)
    assert informative_slices(objects) == (1, 2, 4)


def test_without_labels_the_middle_is_shown() -> None:
    grid = Grid((5, 7, 9), np.eye(4))
    assert informative_slices(segmented(np.zeros(grid.shape, np.uint8), grid)) == (2, 3, 4)


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((20, 20, 1), ["Axial"]),
        ((20, 1, 20), ["Coronal"]),
        ((1, 20, 20), ["Sagittal"]),
        ((40, 40, 3), ["Axial"]),
        ((40, 40, 4), ["Axial", "Coronal", "Sagittal"]),
        ((1, 1, 5), ["Axial"]),
        ((1, 1, 1), ["Axial"]),
    ],
)
def test_planes_that_would_be_a_line_are_left_out(shape: tuple[int, int, int], names: list[str]) -> None:
    grid = Grid(shape, np.eye(4))
    volume = Volume(np.zeros((1, *shape)), grid)
    assert [plane.name for plane in planes_of(volume, segmented(np.zeros(shape, np.uint8), grid))] == names


def test_a_picture_is_shown_as_it_is_stored() -> None:
    grid = Grid((3, 2, 1), np.diag([-1, -1, 1, 1]), "px")
    volume = Volume(np.arange(6).reshape(1, 3, 2, 1), grid)
    (plane,) = planes_of(volume, segmented(np.zeros(grid.shape, np.uint8), grid))
    assert np.array_equal(plane.of(volume.array[0]), [[0, 2, 4], [1, 3, 5]])  # rows are y, columns x
    assert (plane.name, plane.letters) == ("", "")


def test_one_slice_of_a_scan_is_no_picture_but_a_scaled_png_is() -> None:
    grid = Grid((3, 2, 1), np.eye(4))
    volume = Volume(np.zeros((1, 3, 2, 1)), grid)
    assert not volume.is_picture
    assert not volume.replace(source=Source(grid, "NIfTI-1")).is_picture
    assert volume.replace(source=Source(grid, "PNG")).is_picture
