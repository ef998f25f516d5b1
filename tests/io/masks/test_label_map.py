from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.io.nifti import write_labels, write_volume
from medseg.segmentation import Label, LabelTable
from medseg.volume import Grid, Volume

GRID = Grid((9, 8, 7), np.array([[0, -1.5, 0, 4], [2, 0, 0.1, 5], [0, 0.1, 3, -6], [0, 0, 0, 1.0]]))
IMAGE = Volume(np.zeros((1, *GRID.shape), np.int16), GRID)
LABELS = np.random.default_rng(1).integers(0, 4, GRID.shape).astype(np.uint8)
TABLE = LabelTable((Label(1, "liver"), Label(2, "spleen"), Label(3, "liver tumour")))


def write(path: Path, values: NDArray[np.generic] = LABELS, grid: Grid = GRID) -> Path:
    write_volume(Volume(values[None], grid), path)
    return path


def test_names_come_from_the_header_extension(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    write_labels(LABELS, GRID, path, labels=TABLE, source=None)
    (tmp_path / "labels.json").write_text('{"labels": {"1": "not this"}}', encoding="ascii")
    found = read_segmentation(path, onto=IMAGE)
    assert [label.name for label in found.labels] == ["liver", "spleen", "liver tumour"]
    assert np.array_equal(found.array[0], LABELS)
    assert found.grid == GRID


def test_names_of_a_dataset_file_and_without_any(tmp_path: Path) -> None:
    folder = tmp_path / "labelsTr"
    folder.mkdir()
    path = write(folder / "case.nii.gz")
    assert [label.name for label in read_segmentation(path, onto=IMAGE).labels] == [
        "label 1",
        "label 2",
        "label 3",
    ]
    told = '{"labels": {"background": 0, "liver": 1, "spleen": 2, "tumour": 3}}'
    (tmp_path / "dataset.json").write_text(told, encoding="ascii")
    assert [label.name for label in read_segmentation(path, onto=IMAGE).labels] == [
        "liver",
        "spleen",
        "tumour",
    ]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAL", "IRP"])
def test_other_axis_orders_are_copied(tmp_path: Path, codes: str) -> None:
    image = IMAGE.reorient(codes)
    notes: list[str] = []
    found = read_segmentation(write(tmp_path / "a.nii.gz"), onto=image, tell=notes.append)
    back = found.onto(GRID).array[0]
    assert notes == []
    assert np.array_equal(back, LABELS)


def test_whole_floating_point_values_are_labels(tmp_path: Path) -> None:
    found = read_segmentation(write(tmp_path / "a.nii", LABELS.astype(np.float32)), onto=IMAGE)
    assert found.array.dtype == np.uint8
    assert np.array_equal(found.array[0], LABELS)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (LABELS.astype(np.float32) / 2, "not whole numbers"),
        (LABELS.astype(np.int16) - 1, "smallest value is -1"),
        (np.arange(9 * 8 * 7 * 9, dtype=np.uint16).reshape(9, 8, -1), "different values; it is an image"),
    ],
)
def test_images_and_scores_are_no_label_maps(tmp_path: Path, values: NDArray[np.generic], said: str) -> None:
    grid = Grid((9, 8, values.shape[2]), GRID.affine)
    with pytest.raises(InputError, match=said):
        read_segmentation(
            write(tmp_path / "a.nii", values, grid), onto=Volume(np.zeros((1, *grid.shape)), grid)
        )


def test_coarser_image_tells_which_labels_have_no_voxel_left(tmp_path: Path) -> None:
    values = np.zeros(GRID.shape, np.uint8)
    values[2:7, 2:7, 2:6] = 1
    values[0, 0, 0] = 2
    coarse = GRID.respaced([length * 3 for length in GRID.spacing])
    notes: list[str] = []
    image = Volume(np.zeros((1, *coarse.shape)), coarse)
    found = read_segmentation(write(tmp_path / "a.nii", values), onto=image, tell=notes.append)
    assert "nearest labels are taken" in notes[0]
    assert notes[1] == "no voxel of the image lies in label 2, too small for its grid"
    assert found.mask("label 1").any()


def test_another_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"none of its \d+ labelled voxels lies in the image"):
        read_segmentation(write(tmp_path / "a.nii", LABELS, GRID.cropped((50, 0, 0), (59, 8, 7))), onto=IMAGE)


def test_real_label_maps_land_on_their_images(real_data: Path) -> None:
    folder = real_data / "ct_totalseg_A"
    image = read(folder / "ct.nii.gz")
    found = read_segmentation(folder / "seg_total_fast3mm.nii.gz", onto=image)
    assert int((found.array == 5).sum()) == 41692  # the liver, by the data's own description
    assert len(found.labels) >= 61


def test_thousands_of_ids_lie_in_patches_as_values_of_an_image_do_not(tmp_path: Path) -> None:
    """4,900 objects of 2 x 2 voxels that touch each other; the same values shuffled are no objects."""
    ids = np.kron(np.arange(1, 4901, dtype=np.uint16).reshape(70, 70), np.ones((2, 2), np.uint16))[..., None]
    grid = Grid((140, 140, 1), np.eye(4))
    onto = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    assert len(read_segmentation(write(tmp_path / "ids.nii", ids, grid), onto=onto).labels) == 4900
    shuffled = np.random.default_rng(0).permutation(ids.ravel()).reshape(ids.shape)
    with pytest.raises(InputError, match="4900 different values; it is an image"):
        read_segmentation(write(tmp_path / "image.nii", shuffled, grid), onto=onto)
