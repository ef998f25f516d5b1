"""The sample data: the same bytes each time, valid DICOM, and one image in both formats."""

import gzip
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.testing.sample_data import sample_phantom, write_sample_data

SAMPLE = Path(__file__).parents[2] / "sample_data"


@cache
def written() -> dict[str, bytes]:
    """What the command writes, by name."""
    with TemporaryDirectory() as folder:
        write_sample_data(Path(folder))
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def content(name: str, data: bytes) -> bytes:
    """The bytes, unpacked where zlib packed them: which bytes it packs to depends on its version."""
    return gzip.decompress(data) if name.endswith(".gz") else data


def test_the_sample_data_are_what_the_command_writes_bit_for_bit() -> None:
    fresh = written()
    there = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*") if path.is_file()}
    assert there - {"README.md"} == set(fresh)
    different = [
        name
        for name, data in fresh.items()
        if content(name, (SAMPLE / name).read_bytes()) != content(name, data)
    ]
    assert different == []


def test_writing_twice_gives_the_same_packed_bytes(tmp_path: Path) -> None:
    write_sample_data(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in written()} == written()


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 4_000_000


def lps(path: Path) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Voxels `[i, j, k]` and LPS affine of a NIfTI file or DICOM folder, as SimpleITK sees them."""
    import SimpleITK as sitk

    if path.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
        assert len(names) == 50
        image = sitk.ReadImage(list(names))
    else:
        image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, affine


def test_another_reader_finds_the_same_image_in_both_formats() -> None:
    series, series_affine = lps(SAMPLE / "abdomen_dicom")
    nifti, nifti_affine = lps(SAMPLE / "abdomen.nii.gz")
    flip = np.diag(
        [1.0, 1.0, -1.0, 1.0]
    )  # GDCM sorts towards the head, the file is stored from the head down
    flip[2, 3] = nifti.shape[2] - 1
    assert np.array_equal(series, nifti[:, :, ::-1])
    assert series_affine == pytest.approx(nifti_affine @ flip, abs=1e-4)
    assert np.array_equal(nifti, sample_phantom().volume.array[0])


def test_nifti_places_voxels_as_the_phantom_does() -> None:
    import nibabel

    phantom = sample_phantom()
    for name in ("abdomen.nii.gz", "abdomen_truth.nii.gz"):
        image = nibabel.load(SAMPLE / name)
        assert image.affine == pytest.approx(phantom.volume.grid.affine, abs=1e-4)
        assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
        assert image.header.get_xyzt_units()[0] == "mm"
    truth = nibabel.load(SAMPLE / "abdomen_truth.nii.gz")
    assert np.array_equal(np.asanyarray(truth.dataobj), phantom.truth.array[0])


def test_dicom_says_what_it_is() -> None:
    import pydicom

    slices = [pydicom.dcmread(path) for path in sorted((SAMPLE / "abdomen_dicom").glob("*.dcm"))]
    first = slices[0]
    assert first.file_meta.TransferSyntaxUID == pydicom.uid.JPEGLSLossless
    assert first.SOPClassUID == pydicom.uid.CTImageStorage
    assert (str(first.PatientName), first.PatientID) == ("PHANTOM^ABDOMEN", "MEDSEG-PHANTOM-1")
    assert (first.RescaleIntercept, first.RescaleSlope) == (-1024, 1)
    assert len({ds.SOPInstanceUID for ds in slices}) == 50
    assert len({ds.SeriesInstanceUID for ds in slices}) == 1
    heights = [float(ds.ImagePositionPatient[2]) for ds in slices]
    assert np.diff(heights) == pytest.approx(-5.0)
    assert [ds.InstanceNumber for ds in slices] == list(range(1, 51))


def test_the_truth_names_volumes_that_the_labels_hold() -> None:
    import nibabel

    stated = json.loads((SAMPLE / "abdomen_truth.json").read_text())
    image = nibabel.load(SAMPLE / "abdomen_truth.nii.gz")
    labels = np.asanyarray(image.dataobj)
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    assert [entry["name"] for entry in stated["labels"]][:2] == ["liver", "spleen"]
    for entry in stated["labels"]:
        counted = float((labels == entry["value"]).sum() * voxel_ml)
        assert counted == pytest.approx(entry["volume_ml"], rel=0.06), entry["name"]


def test_no_organ_of_interest_is_cut_by_the_field_of_view() -> None:
    truth = sample_phantom().truth
    for label in ("liver", "spleen", "left kidney", "right kidney"):
        mask = truth.mask(label)
        assert not mask[:, :, [0, -1]].any(), label
    body = sample_phantom().tissues.mask("body")
    assert not any(face.any() for face in (body[0], body[-1], body[:, 0], body[:, -1]))
