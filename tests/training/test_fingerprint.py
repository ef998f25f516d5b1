import json
from pathlib import Path

import numpy as np
import pytest
from datasets import AFFINE, SHAPE, image, labels, nibabel, nifti, pairs, picture, table

from medseg.training.dataset import open_dataset
from medseg.training.fingerprint import Fingerprint, fingerprint, fingerprint_key


def test_sizes_and_volumes_of_known_boxes(tmp_path: Path) -> None:
    dataset = open_dataset(pairs(tmp_path, [labels(1, 2, size=3), labels(1), labels(1)]))
    heard: list[tuple[str, int, int]] = []
    found = fingerprint(dataset, dataset.cases, lambda *told: heard.append(told))
    assert heard == [("fingerprint", n, 3) for n in (1, 2, 3)]
    first = found.cases[0]
    assert (first.shape, first.spacing, first.axis_codes, first.unit) == (SHAPE, (1.5, 2.0, 3.0), "RAS", "mm")
    assert first.voxels == {"label 1": 12, "label 2": 12}
    assert first.volumes_ml == pytest.approx({"label 1": 12 * 9 / 1000, "label 2": 12 * 9 / 1000})
    assert found.presence == {"label 1": 3, "label 2": 1}
    assert found.voxel_shares == pytest.approx({"label 1": 28 / 1008, "label 2": 12 / 1008})
    assert (found.median_shape, found.median_spacing) == (SHAPE, (1.5, 2.0, 3.0))
    assert (found.dims, found.pictures, found.modalities) == (3, False, (None,))


def test_intensities_are_those_within_labels(tmp_path: Path) -> None:
    array = image()
    array[labels(1) > 0] = np.arange(8) * 10
    nifti(tmp_path / "images" / "a.nii.gz", array)
    nifti(tmp_path / "labels" / "a.nii.gz", labels(1))
    dataset = open_dataset(tmp_path)
    (found,) = fingerprint(dataset, dataset.cases).intensities
    assert (found.mean, found.median) == (35, 35)
    assert found.sd == pytest.approx(np.std(np.arange(8) * 10))
    assert found.low == pytest.approx(np.percentile(np.arange(8) * 10, 0.5))
    assert found.high == pytest.approx(np.percentile(np.arange(8) * 10, 99.5))


def test_a_sample_of_a_large_label_is_close_and_repeatable(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(50, 20, (40, 40, 40)).astype(np.float32)
    nifti(tmp_path / "images" / "a.nii.gz", values)
    nifti(tmp_path / "labels" / "a.nii.gz", np.ones((40, 40, 40), np.uint8))
    dataset = open_dataset(tmp_path)
    found = fingerprint(dataset, dataset.cases)
    assert found.intensities[0].mean == pytest.approx(50, abs=0.8)  # 4 standard errors of 10,000 voxels
    assert found.intensities[0].high == pytest.approx(np.percentile(values, 99.5), abs=3)
    assert fingerprint(dataset, dataset.cases) == found


def test_medians_are_along_the_body_whatever_the_axis_order(tmp_path: Path) -> None:
    turned = nibabel.Nifti1Image(image(), AFFINE).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(("P", "S", "R"))
        )
    )
    nifti(tmp_path / "images" / "a.nii.gz", np.asarray(turned.dataobj), turned.affine)
    nifti(tmp_path / "labels" / "a.nii.gz", labels(1))
    dataset = open_dataset(tmp_path)
    found = fingerprint(dataset, dataset.cases)
    assert (found.cases[0].shape, found.cases[0].axis_codes) == ((7, 6, 8), "PSR")
    assert (found.median_shape, found.median_spacing) == (SHAPE, (1.5, 2.0, 3.0))


def test_the_box_that_is_not_zero(tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[2:6, 1:4, 0:3] = 7
    nifti(tmp_path / "images" / "a.nii.gz", array)
    nifti(tmp_path / "labels" / "a.nii.gz", labels(1))
    dataset = open_dataset(tmp_path)
    assert fingerprint(dataset, dataset.cases).median_box_share == pytest.approx(4 * 3 * 3 / (8 * 7 * 6))


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(-1024, 1500, "CT"), (-1000, 50, None), (0, 1500, None), (-1, 1, None)]
)
def test_hounsfield_units_are_told_by_their_range(
    tmp_path: Path, low: int, high: int, kind: str | None
) -> None:
    array = np.full(SHAPE, low, np.int16)
    array[3:] = high
    nifti(tmp_path / "images" / "a.nii.gz", array)
    nifti(tmp_path / "labels" / "a.nii.gz", labels(1))
    dataset = open_dataset(tmp_path)
    assert fingerprint(dataset, dataset.cases).modalities == (kind,)
    table(tmp_path / "dataset.yaml", "inputs: [{name: mr, modality: MR}]")
    dataset = open_dataset(tmp_path)
    assert fingerprint(dataset, dataset.cases).modalities == ("MR",)


def test_pictures_in_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
    mask = np.zeros((6, 5), np.uint8)
    mask[1:3] = 1
    picture(tmp_path / "images" / "a.png", colours)
    picture(tmp_path / "labels" / "a.png", mask)
    dataset = open_dataset(tmp_path)
    found = fingerprint(dataset, dataset.cases)
    assert (found.pictures, found.dims, found.channels) == (True, 2, ("red", "green", "blue"))
    assert [each.mean for each in found.intensities] == pytest.approx(list(colours[1:3].mean((0, 1))))
    assert found.cases[0].volumes_ml == {}


def test_a_stack_of_pages_is_no_flat_picture_and_has_no_sides(tmp_path: Path) -> None:
    import tifffile

    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        pages = labels(1, 2).T.astype(np.uint16)
        tifffile.imwrite(tmp_path / folder / "a.tif", pages, photometric="minisblack")
    dataset = open_dataset(tmp_path)
    found = fingerprint(dataset, dataset.cases)
    assert (found.pictures, found.sided, found.dims, found.median_shape) == (False, False, 3, SHAPE)


def test_json_there_and_back_holds_no_path(tmp_path: Path) -> None:
    dataset = open_dataset(pairs(tmp_path / "DOE^JANE", [labels(1), labels(1, 2)]))
    found = fingerprint(dataset, dataset.cases)
    text = json.dumps(found.as_json())
    assert Fingerprint.from_json(json.loads(text)) == found
    assert "DOE" not in text
    with pytest.raises(ValueError, match="version"):
        Fingerprint.from_json({**found.as_json(), "version": 0})


def test_the_key_is_of_bytes_and_labels(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "one", [labels(1, 2)] * 2)
    dataset = open_dataset(folder)
    key = fingerprint_key(dataset, dataset.cases)
    assert fingerprint(dataset, dataset.cases).key == key
    assert fingerprint_key(dataset, reversed(dataset.cases)) == key
    assert fingerprint_key(dataset, dataset.cases[:1]) != key
    folder.rename(tmp_path / "two")
    moved = open_dataset(tmp_path / "two")
    assert fingerprint_key(moved, moved.cases) == key
    table(tmp_path / "two" / "dataset.yaml", "labels: {1: liver, 2: tumour}")
    renamed = open_dataset(tmp_path / "two")
    assert fingerprint_key(renamed, renamed.cases) != key


def test_a_real_ct_is_told_from_mr(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "ct_totalseg_A"
    file = table(
        tmp_path / "c.csv", "image,label", f"{folder / 'ct.nii.gz'},{folder / 'seg_total_fast3mm.nii.gz'}"
    )
    dataset = open_dataset(file)
    found = fingerprint(dataset, dataset.cases)
    assert found.modalities == ("CT",)
    assert found.cases[0].voxels["liver"] == 41692  # by the data's own list; the name is in the mask's header
