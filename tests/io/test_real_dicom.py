"""Real DICOM: the odd files one by one, and clean series bit for bit as pydicom and highdicom read them."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from odd_dicom import OUTCOMES, page

from medseg.errors import InputError
from medseg.io import read
from medseg.volume import LPS_TO_RAS, Volume

REPOSITORY = Path(__file__).parents[2]
ROWS = [(name, row) for row in OUTCOMES for name in row.names]
AIR = -1024
CLEAN = (
    "sample_data/abdomen_dicom",
    "dicom_seg_dcmqi/ct-3slice",
    "dicom_seg_dcmqi/23x38x3/image",
    "dicom_seg_dcmqi/24x38x3/image",
    "dicom_odd/rt-utils/mock_data",
    "dicom_odd/dicom2nifti/failing/slicecount/001",
)
MULTI_FRAME = ("dicom_seg_dcmqi/23x38x3/multiframe/mf.dcm", "dicom_seg_dcmqi/24x38x3/multiframe/mf.dcm")
GREY = (
    "dicom_odd/pydicom/test_files/CT_small.dcm",
    "dicom_odd/pydicom/test_files/J2K_pixelrep_mismatch.dcm",
    "dicom_odd/pydicom/test_files/examples_overlay.dcm",
    "dicom_odd/dcm_qa_12bit/12bitSigned_0x0F0F.dcm",
    "dicom_odd/dcm_qa_12bit/12bitUnsigned.dcm",
    "dicom_odd/dcm_qa_12bit/12bitUnsigned_0x0F0F.dcm",
    "dicom_odd/rt-utils/oriented_data/0.dcm",
)


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[name for name, _ in ROWS])
@pytest.mark.filterwarnings("ignore")
def test_each_odd_file_has_the_outcome_in_the_table(real_data: Path, name: str, row: Any) -> None:
    if row.outcome == "read":
        volume = read(real_data / name)
        assert volume.source is not None
        assert row.reason in "; ".join(volume.source.policies)
        return
    with pytest.raises(InputError) as refusal:
        read(real_data / name)
    assert row.reason in str(refusal.value) or re.search(row.reason, str(refusal.value))
    assert "\n" not in str(refusal.value)


def test_the_table_has_every_file_once(real_data: Path) -> None:
    with (real_data / "dicom_odd" / "INDEX.csv").open() as file:
        listed = {f"dicom_odd/{row['file']}" for row in csv.DictReader(file)}
    listed |= {
        file.relative_to(real_data).as_posix()
        for file in (real_data / "dicom_seg_dcmqi").rglob("*")
        if file.is_file()
    }
    folders = {Path(name).parent.as_posix() for name in listed} - {"dicom_seg_dcmqi"}
    named = [name for name, _ in ROWS]
    assert len(named) == len(set(named))
    assert listed | folders <= set(named)


def test_the_page_shows_the_table() -> None:
    written = (REPOSITORY / "docs/reference/odd-dicom.md").read_text(encoding="utf-8")
    assert written == page(), "python tests/odd_dicom.py > docs/reference/odd-dicom.md"


# ------------------------------------------------------------------ values and places
def sets(files: Sequence[Path]) -> list[Any]:
    from pydicom import dcmread

    return [dcmread(file) for file in files]


def as_pydicom_reads(ds: Any) -> NDArray[Any]:
    """Modality values `[column, row]`; what PixelPaddingValue marks is air, which pydicom leaves as it is."""
    from pydicom.pixels.processing import apply_rescale

    values: NDArray[Any] = apply_rescale(ds.pixel_array, ds)
    if ds.Modality == "CT" and "PixelPaddingValue" in ds:
        values = np.where(outside(ds).T, AIR, values)
    return values.T


def outside(ds: Any) -> NDArray[np.bool_]:
    """Pixels `[column, row]` that PixelPaddingValue marks."""
    stored: NDArray[Any] = ds.pixel_array.T
    return np.isin(stored, [ds.PixelPaddingValue] if "PixelPaddingValue" in ds else [])


def place(name: str, real_data: Path) -> Path:
    return (REPOSITORY if name.startswith("sample_data") else real_data) / name


def assert_values(volume: Volume, expected: NDArray[Any]) -> None:
    """Equal bit for bit; numbers that are not whole come as float32."""
    assert volume.array.shape == (1, *expected.shape)
    np.testing.assert_array_equal(volume.array[0], expected.astype(volume.array.dtype))
    assert volume.array.dtype.kind == "f" or np.array_equal(expected, np.rint(expected))


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.filterwarnings("ignore")
def test_a_clean_series_has_pydicoms_values(real_data: Path, name: str) -> None:
    volume = read(place(name, real_data))
    assert volume.source is not None
    slices = [as_pydicom_reads(ds) for ds in sets(volume.source.files)]
    assert_values(volume, np.stack(slices, axis=-1))


@pytest.mark.parametrize("name", [name for name in CLEAN if "slicecount" not in name])  # no FrameOfReference
@pytest.mark.filterwarnings("ignore")
def test_a_clean_series_lies_where_highdicom_says(real_data: Path, name: str) -> None:
    from highdicom import get_volume_from_series

    volume = read(place(name, real_data))
    assert volume.source is not None
    slices = sets(volume.source.files)
    other = get_volume_from_series(slices, apply_modality_transform=True)
    array, affine = np.asarray(other.array).transpose(2, 1, 0), LPS_TO_RAS @ other.affine[:, [2, 1, 0, 3]]
    array, affine = upwards(array, affine, volume)
    np.testing.assert_array_equal(volume.grid.affine, affine)
    padded = np.stack([outside(ds) for ds in slices], -1)
    assert_values(volume, np.where(padded, AIR, array))


def upwards(array: NDArray[Any], affine: NDArray[Any], volume: Volume) -> tuple[NDArray[Any], NDArray[Any]]:
    """highdicom's slices may run the other way."""
    if affine[:3, 2] @ volume.grid.affine[:3, 2] > 0:
        return array, affine
    turned = np.diag([1.0, 1.0, -1.0, 1.0])
    turned[2, 3] = array.shape[2] - 1
    return array[:, :, ::-1], affine @ turned


@pytest.mark.parametrize("name", MULTI_FRAME)
@pytest.mark.filterwarnings("ignore")
def test_a_multi_frame_file_is_what_highdicom_reads(real_data: Path, name: str) -> None:
    from highdicom import imread

    volume = read(real_data / name)
    other = imread(real_data / name).get_volume(apply_modality_transform=True)
    array, affine = np.asarray(other.array).transpose(2, 1, 0), LPS_TO_RAS @ other.affine[:, [2, 1, 0, 3]]
    array, affine = upwards(array, affine, volume)
    np.testing.assert_array_equal(volume.grid.affine, affine)
    assert_values(volume, array)
    classic = read((real_data / name).parents[1] / "image")
    np.testing.assert_array_equal(volume.array, classic.array)
    np.testing.assert_array_equal(volume.grid.affine, classic.grid.affine)


@pytest.mark.parametrize("name", GREY)
@pytest.mark.filterwarnings("ignore")
def test_a_single_odd_slice_has_pydicoms_values_once_it_has_a_neighbour(
    tmp_path: Path, real_data: Path, name: str
) -> None:
    ds = sets([real_data / name])[0]
    expected = as_pydicom_reads(ds)
    ds.save_as(tmp_path / "0.dcm")
    along = np.array(ds.ImageOrientationPatient, float)
    normal = np.cross(along[:3], along[3:])
    ds.ImagePositionPatient = [f"{x:.10g}" for x in np.add(ds.ImagePositionPatient, 2.5 * normal)]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID[:50]}.99"
    ds.save_as(tmp_path / "1.dcm")
    volume = read(tmp_path)
    assert volume.grid.spacing[2] == pytest.approx(2.5, abs=1e-3)
    assert_values(volume, np.stack([expected, expected], axis=-1))


@pytest.mark.parametrize("name", ["12bitSigned_0x0F0F.dcm", "12bitUnsigned.dcm", "12bitUnsigned_0x0F0F.dcm"])
def test_twelve_stored_bits_are_taken_from_sixteen_by_hand(real_data: Path, name: str) -> None:
    """What pydicom reads is what the bytes say: the lowest twelve bits, the twelfth a sign where signed."""
    ds = sets([real_data / "dicom_odd/dcm_qa_12bit" / name])[0]
    bits = (np.frombuffer(ds.PixelData, "<u2") & 0x0FFF).astype(int).reshape(ds.Rows, ds.Columns)
    if ds.PixelRepresentation:
        bits = np.where(bits >= 0x0800, bits - 0x1000, bits)
    np.testing.assert_array_equal(as_pydicom_reads(ds), bits.T)


# ------------------------------------------------------------------ NIfTI
@pytest.mark.filterwarnings("ignore")
def test_every_real_nifti_is_what_nibabel_reads(real_data: Path) -> None:
    import nibabel

    files = sorted([*real_data.rglob("*.nii.gz"), *real_data.rglob("*.nii"), *SAMPLES])
    assert len(files) > 400
    for file in files:
        volume, other = read(file), nibabel.load(file)
        values = np.asanyarray(other.dataobj)
        np.testing.assert_array_equal(volume.grid.affine, other.affine, err_msg=file.name)
        np.testing.assert_array_equal(
            np.moveaxis(volume.array, 0, -1).reshape(values.shape),
            values.astype(volume.array.dtype),
            file.name,
        )


SAMPLES = [REPOSITORY / "sample_data" / name for name in ("abdomen.nii.gz", "abdomen_truth.nii.gz")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_samples_are_what_nibabel_reads(path: Path) -> None:
    import nibabel

    volume, other = read(path), nibabel.load(path)
    np.testing.assert_array_equal(volume.grid.affine, other.affine)
    np.testing.assert_array_equal(volume.array[0], np.asanyarray(other.dataobj))


@pytest.mark.filterwarnings("ignore")
def test_nifti_written_back_keeps_affine_and_values(real_data: Path, tmp_path: Path) -> None:
    import nibabel

    from medseg.io.nifti import write_volume

    files = sorted([*real_data.rglob("*.nii.gz"), *SAMPLES])[::8]
    assert len(files) > 40
    for file in files:
        write_volume(read(file), tmp_path / "out.nii.gz")
        written, other = nibabel.load(tmp_path / "out.nii.gz"), nibabel.load(file)
        np.testing.assert_array_equal(written.affine, other.affine, err_msg=file.name)
        values = np.asanyarray(other.dataobj)
        again = np.asanyarray(written.dataobj).reshape(values.shape)
        np.testing.assert_array_equal(again, values.astype(again.dtype), err_msg=file.name)
