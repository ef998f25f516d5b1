import hashlib
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.dicom import describe_dicom, read_dicom

SHAPE = (12, 10, 8)  # columns, rows, slices
STORED = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)  # every voxel has its own value
LARGE = np.arange(40 * 36 * 8, dtype=np.uint16).reshape(40, 36, 8)  # JPEG 2000 needs 32 pixels a side
SPACING = (0.7, 0.9, 2.5)
PLACE = np.array([-30.0, -20.0, 40.0])  # LPS mm, as the writer of the series places them
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
Write = Callable[..., Path]
Edit = Callable[[int, Any], None]

ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "oblique": (1, 0, 0, 0, np.cos(0.5), np.sin(0.5)),
    "double oblique": (
        np.cos(0.3),
        np.sin(0.3),
        0,
        -np.sin(0.3) * np.cos(0.5),
        np.cos(0.3) * np.cos(0.5),
        np.sin(0.5),
    ),
}


def affine_of(orientation: Any) -> NDArray[np.float64]:
    """Index to RAS+ mm, written out from DICOM PS3.3 C.7.6.2.1.1."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * 0.7, column * 0.9, np.cross(row, column) * 2.5
    affine[:3, 3] = PLACE
    return LPS_TO_RAS @ affine


def every(**changes: Any) -> Edit:
    """Set or (None) delete the same tags in every slice."""

    def edit(_k: int, dataset: Any) -> None:
        for keyword, value in changes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


def only(slice_number: int, **changes: Any) -> Edit:
    change = every(**changes)
    return lambda k, dataset: change(k, dataset) if k == slice_number else None


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_dicom(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ------------------------------------------------------------------ clean series
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_is_where_the_headers_put_it(tmp_path: Path, write_series: Write, name: str) -> None:
    volume = read_dicom(write_series(tmp_path / "ct", STORED, orientation=ORIENTATIONS[name]))
    np.testing.assert_allclose(volume.grid.affine, affine_of(ORIENTATIONS[name]), atol=1e-8)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.array.dtype == np.int16


def test_agrees_with_simpleitk(tmp_path: Path, write_series: Write) -> None:
    import SimpleITK as sitk

    folder = write_series(tmp_path / "ct", STORED, orientation=ORIENTATIONS["double oblique"])
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    np.testing.assert_allclose(volume.grid.affine, LPS_TO_RAS @ affine, atol=1e-6)


def test_position_orders_slices_not_names_or_numbers(tmp_path: Path, write_series: Write) -> None:
    def shuffled(k: int, dataset: Any) -> None:
        dataset.InstanceNumber = (k * 5) % 8 + 1

    folder = write_series(tmp_path / "ct", STORED, edit=shuffled)
    for k in range(8):
        (folder / f"IM{k:04d}.dcm").rename(folder / f"{(k * 3) % 8}")
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)


def test_slices_that_run_down_the_body_are_turned_to_run_along_the_normal(
    tmp_path: Path, write_series: Write
) -> None:
    volume = read_dicom(write_series(tmp_path / "ct", STORED, step=(0, 0, -2.5)))
    np.testing.assert_array_equal(volume.array[0], STORED[:, :, ::-1] - 1024)
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 7]), (30, 20, 40))


def test_spacing_comes_from_positions_not_from_thickness(tmp_path: Path, write_series: Write) -> None:
    assert read_dicom(write_series(tmp_path / "ct", STORED)).grid.spacing == pytest.approx(SPACING)


def test_source_says_where_it_came_from_in_slice_order(tmp_path: Path, write_series: Write) -> None:
    volume = read_dicom(write_series(tmp_path / "ct", STORED, step=(0, 0, -2.5)))
    source = volume.source
    assert source is not None
    assert [path.name for path in source.files] == [f"IM{k:04d}.dcm" for k in reversed(range(8))]
    assert source.sha256 == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in source.files)
    assert (source.format, source.modality, source.verdict, source.policies) == (
        "DICOM series",
        "CT",
        "ok",
        (),
    )
    assert source.native == volume.grid
    assert volume.channels == ("ct",)
    last = source.headers[-1]
    assert (last["SOPInstanceUID"], last["SeriesInstanceUID"], last["InstanceNumber"]) == (
        "1.2.3.1.1",
        "1.2.3.1",
        1,
    )
    assert last["ImagePositionPatient"] == PLACE.tolist()
    assert last["SliceThickness"] == 5


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.80",
    ],
    ids=["implicit", "big endian", "deflated", "RLE", "JPEG 2000", "JPEG-LS"],
)
def test_transfer_syntaxes_give_the_same_values(tmp_path: Path, write_series: Write, syntax: str) -> None:
    folder = write_series(tmp_path / "ct", LARGE, syntax=syntax)
    np.testing.assert_array_equal(read_dicom(folder).array[0], LARGE.astype(int) - 1024)


def test_folders_below_are_searched_and_other_files_ignored(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "study" / "a", STORED)
    (folder.parent / "b").mkdir()
    for k in (1, 4):
        (folder / f"IM{k:04d}.dcm").rename(folder.parent / "b" / f"IM{k:04d}")
    (folder / "readme.txt").write_text("notes\n", encoding="ascii")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 20)
    (folder / "._IM0000.dcm").write_bytes(b"\0\5\x16\7")
    (folder / "loop").symlink_to("..")
    np.testing.assert_array_equal(read_dicom(folder.parent).array[0], STORED - 1024)


def test_a_file_without_its_preamble_is_read_and_noted(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    file = folder / "IM0003.dcm"
    file.write_bytes(file.read_bytes()[132:])
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.source is not None
    assert volume.source.policies == ("files without the DICOM preamble",)


def test_empty_uids_are_taken_from_the_file_meta_and_noted(tmp_path: Path, write_series: Write) -> None:
    edit = every(SOPClassUID="", SOPInstanceUID="", SeriesInstanceUID="", StudyInstanceUID="")
    source = read_dicom(write_series(tmp_path / "ct", STORED, edit=edit)).source
    assert source is not None
    assert [header["SOPInstanceUID"] for header in source.headers] == [f"1.2.3.1.{k}" for k in range(1, 9)]
    assert source.policies == (
        "SOPClassUID, SOPInstanceUID empty: taken from the file meta information",
        "SeriesInstanceUID empty: files read as one series",
    )


# ------------------------------------------------------------------ values
def test_slope_and_intercept_of_each_slice_are_its_own(tmp_path: Path, write_series: Write) -> None:
    def edit(k: int, dataset: Any) -> None:
        dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "PT", 0.5 + 0.25 * k, 10 * k

    volume = read_dicom(write_series(tmp_path / "pet", STORED, edit=edit))
    np.testing.assert_allclose(
        volume.array[0], STORED * (0.5 + 0.25 * np.arange(8)) + 10 * np.arange(8), rtol=1e-7
    )
    assert volume.array.dtype == np.float32
    assert volume.channels == ("pt",)


def test_without_a_rescale_stored_values_are_the_values(tmp_path: Path, write_series: Write) -> None:
    edit = every(RescaleSlope=None, RescaleIntercept=None, Modality="MR")
    volume = read_dicom(write_series(tmp_path / "mr", STORED, edit=edit))
    np.testing.assert_array_equal(volume.array[0], STORED)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(32767 + 1024, np.int16), (32768 + 1024, np.int32), (65535, np.int32)]
)
def test_the_type_grows_only_when_values_need_it(
    tmp_path: Path, write_series: Write, highest: int, dtype: type
) -> None:
    stored = STORED.astype(np.uint16)
    stored[3, 4, 5] = highest
    volume = read_dicom(write_series(tmp_path / "ct", stored))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array[0], stored.astype(int) - 1024)


def test_monochrome1_is_not_inverted(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=every(PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)


def test_no_window_is_applied(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=every(WindowCenter=40, WindowWidth=80))
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)


def test_bits_above_the_stored_ones_are_an_old_overlay(tmp_path: Path, write_series: Write) -> None:
    dirty = (STORED.astype(np.uint16) & 0x0FFF) | 0xA000
    folder = write_series(tmp_path / "ct", dirty, edit=every(BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)


@pytest.mark.parametrize("written", [-2000, 65536 - 2000], ids=["signed", "as if unsigned"])
def test_ct_padding_becomes_air(tmp_path: Path, write_series: Write, written: int) -> None:
    stored = STORED.copy()
    stored[:2] = -2000

    def edit(_k: int, dataset: Any) -> None:
        dataset.add_new(0x00280120, "SS" if written < 0 else "US", written)

    volume = read_dicom(write_series(tmp_path / "ct", stored, edit=edit))
    assert np.all(volume.array[0, :2] == -1024)
    np.testing.assert_array_equal(volume.array[0, 2:], STORED[2:] - 1024)
    assert volume.source is not None
    assert volume.source.policies == ("pixel padding: 160 voxels set to -1024",)


def test_a_padding_range_is_all_padding(tmp_path: Path, write_series: Write) -> None:
    stored = STORED.copy()
    stored[0], stored[1], stored[2] = -2000, -1990, -1980

    def edit(_k: int, dataset: Any) -> None:
        dataset.add_new(0x00280120, "SS", -2000)
        dataset.add_new(0x00280121, "SS", -1980)

    volume = read_dicom(write_series(tmp_path / "ct", stored, edit=edit))
    assert np.all(volume.array[0, :3] == -1024)
    np.testing.assert_array_equal(volume.array[0, 3:], STORED[3:] - 1024)


def test_padding_outside_ct_becomes_the_smallest_real_value(tmp_path: Path, write_series: Write) -> None:
    stored = STORED + 7
    stored[:2] = 30000
    edit = every(Modality="MR", RescaleIntercept=0, PixelPaddingValue=30000)
    volume = read_dicom(write_series(tmp_path / "mr", stored, edit=edit))
    assert np.all(volume.array[0, :2] == stored[2:].min())
    np.testing.assert_array_equal(volume.array[0, 2:], stored[2:])


def test_padding_that_means_zero_signal_is_left_alone(tmp_path: Path, write_series: Write) -> None:
    stored = STORED + 7
    stored[:2] = 0
    edit = every(Modality="MR", RescaleIntercept=0, PixelPaddingValue=0)
    np.testing.assert_array_equal(
        read_dicom(write_series(tmp_path / "mr", stored, edit=edit)).array[0], stored
    )


# ------------------------------------------------------------------ several stacks
MIXED = {
    "orientation": only(7, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
    "size (Rows, Columns)": only(7, Rows=6, Columns=20),
    "pixel spacing": only(7, PixelSpacing=[0.9, 0.8]),
    "frame of reference": only(7, FrameOfReferenceUID="1.2.3.10"),
    "image type": only(7, ImageType=["DERIVED", "PRIMARY", "MPR"]),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_series_that_mixes_images_is_refused(tmp_path: Path, write_series: Write, name: str) -> None:
    message = refusal(write_series(tmp_path / "ct", STORED, edit=MIXED[name]))
    assert f"one series mixes 7 + 1 images of different {name}, as IM0007.dcm" in message


# ------------------------------------------------------------------ what is not read
REFUSED = {
    "colour": (
        every(PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0),
        "a colour image (RGB)",
    ),
    "palette": (every(PhotometricInterpretation="PALETTE COLOR"), "a colour image (PALETTE COLOR)"),
    "multi-frame": (
        every(NumberOfFrames=3),
        "a multi-frame image (3 frames) without a position for each frame",
    ),
    "cine": (every(NumberOfFrames=3, Modality="XA"), "without a position for each frame, so not a volume"),
    "high bit": (every(BitsStored=12, HighBit=9), "stores 12 of 16 bits up to bit 9"),
    "one bit": (every(BitsAllocated=1, BitsStored=1, HighBit=0), "one bit a pixel: a mask"),
    "zero slope": (every(RescaleSlope=0), "RescaleSlope of 0"),
    "mixed rescale": (only(3, RescaleType="US"), "differ in RescaleType (US, none)"),
    "mixed units": (only(3, Units="CNTS"), "differ in Units (CNTS, none)"),
    "slope missing once": (
        only(3, RescaleSlope=None),
        "IM0003.dcm has a RescaleIntercept but no RescaleSlope: restore it or export again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(tmp_path: Path, write_series: Write, name: str) -> None:
    edit, words = REFUSED[name]
    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    assert words in refusal(folder)
    assert not describe_dicom(folder)[0].readable


def test_images_without_pixel_data_are_refused(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=every(PixelData=None))
    assert "IM0000.dcm has no pixel data" in refusal(folder)


def test_a_syntax_without_a_decoder_is_named(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    for file in folder.iterdir():
        movie = b"1.2.840.10008.1.2.4.100"
        data = file.read_bytes()
        old = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
        assert old in data
        data = data.replace(old, b"\x02\0\x10\0UI\x18\0" + movie + b"\0")
        length = struct.unpack("<I", data[140:144])[0]
        file.write_bytes(data[:140] + struct.pack("<I", length + 4) + data[144:])
    message = refusal(folder)
    assert "IM0000.dcm is compressed as MPEG2 Main Profile / Main Level" in message
    assert "no decoder" in message


def test_truncated_pixels_name_the_file(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    file = folder / "IM0006.dcm"
    file.write_bytes(file.read_bytes()[:-100])
    assert "IM0006.dcm is truncated: 240 bytes of pixel data are needed, it holds 140" in refusal(folder)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"]
)
def test_truncated_compressed_pixels_name_the_file(tmp_path: Path, write_series: Write, syntax: str) -> None:
    folder = write_series(tmp_path / "ct", LARGE, syntax=syntax)
    file = folder / "IM0006.dcm"
    file.write_bytes(file.read_bytes()[:-40])
    assert "IM0006.dcm is truncated: 1 compressed frame(s) are claimed, 0 are there" in refusal(folder)


def test_a_last_slice_cut_within_its_header_is_not_dropped_in_silence(
    tmp_path: Path, write_series: Write
) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    file = folder / "IM0007.dcm"
    whole = file.read_bytes()
    for length in range(1, len(whole) - 240, 3):
        file.write_bytes(whole[:length])
        assert "IM0007.dcm" in refusal(folder), length


def test_a_file_that_is_dicom_by_name_only_is_not_dropped_in_silence(
    tmp_path: Path, write_series: Write
) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    (folder / "IM0007.dcm").write_bytes(b"")
    assert refusal(folder).startswith("IM0007.dcm: an empty file")
    (folder / "IM0007.dcm").write_bytes(b"hello " * 100)
    assert refusal(folder).startswith("IM0007.dcm: not a DICOM file")


def test_huge_claims_are_refused_before_anything_is_allocated(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=every(Rows=65535, Columns=65535))
    assert "8589672450 bytes of pixel data are needed" in refusal(folder)


def test_a_deflate_bomb_is_refused(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, syntax="1.2.840.10008.1.2.1.99")
    file = folder / "IM0002.dcm"
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(20)) + squeeze.flush()
    start = file.read_bytes()
    meta = 144 + struct.unpack("<I", start[140:144])[0]
    file.write_bytes(start[:meta] + bomb)
    assert refusal(folder) == "IM0002.dcm: its deflated data set grows beyond 256 MiB"


def test_an_empty_folder_and_one_without_images_say_so(tmp_path: Path) -> None:
    assert "the folder is empty" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("hello\n", encoding="ascii")
    assert "no DICOM images among 1 file(s)" in refusal(tmp_path)


# ------------------------------------------------------------------ several series
def test_two_series_are_listed_and_neither_is_taken(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a", STORED)
    write_series(
        tmp_path / "b", STORED[:, :, :4], series="1.2.3.999.2", edit=every(SeriesDescription="Thorax\x1b[2J")
    )
    message = refusal(tmp_path)
    assert "more than one series (2)" in message
    assert "Abdomen CT axial 12 x 10 x 8 spacing 0.7 x 0.9 x 2.5 mm --series 1.2.3.1;" in message
    assert "Thorax__2J CT axial 12 x 10 x 4 spacing 0.7 x 0.9 x 2.5 mm --series 3.999.2" in message
    assert [(c.shape, c.files, c.verdict) for c in describe_dicom(tmp_path)] == [
        ((12, 10, 8), 8, "ok"),
        ((12, 10, 4), 4, "ok"),
    ]


def test_a_doubtful_series_still_counts_as_one_that_could_be_meant(
    tmp_path: Path, write_series: Write
) -> None:
    folder = write_series(tmp_path / "a", STORED)
    (folder / "IM0003.dcm").unlink()
    write_series(tmp_path / "b", STORED[:, :, :4], series="1.2.3.2")
    assert "(missing slice)" in refusal(tmp_path)


def test_localizers_reports_and_colour_captures_are_left_out_with_a_note(
    tmp_path: Path, write_series: Write
) -> None:
    write_series(tmp_path / "ct", STORED)
    scout = every(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesDescription="Topogram of NAME")
    write_series(tmp_path / "scout", STORED[:, :, :2], series="1.2.3.2", edit=scout)
    write_series(tmp_path / "dose", STORED[:, :, :1], series="1.2.3.3", edit=REFUSED["colour"][0])
    for name, uid in (("sr", "1.2.840.10008.5.1.4.1.1.88.11"), ("seg", "1.2.840.10008.5.1.4.1.1.66.4")):
        write_series(tmp_path / name, STORED, series=f"1.2.3.4.{uid}", edit=every(SOPClassUID=uid))
    volume = read_dicom(tmp_path)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.source is not None
    assert volume.source.policies == (
        "left out: CT 12 x 10 x 2 (localizer) UID ...1.2.3.2",
        "left out: CT 12 x 10 x 1 (colour) UID ...1.2.3.3",
        "passed over: 16 non-image DICOM files",
    )


def test_a_dicomdir_is_ignored(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    write_series(tmp_path / "other", STORED[:, :, :1], edit=every(SOPClassUID="1.2.840.10008.1.3.10"))
    (tmp_path / "other" / "IM0000.dcm").replace(folder / "DICOMDIR")
    assert read_dicom(folder).grid.shape == SHAPE


# ------------------------------------------------------------------ the patient
def test_nothing_of_the_patient_is_kept_or_told(
    tmp_path: Path, write_series: Write, canaries: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = write_series(tmp_path / "ct", STORED)
    volume = read_dicom(folder)
    told = [repr(volume), repr(volume.source), repr(describe_dicom(folder))]
    (folder / "IM0003.dcm").unlink()
    told += [refusal(folder), repr(describe_dicom(folder))]
    write_series(tmp_path / "b", STORED, series="1.2.3.2")
    told += [refusal(tmp_path), caplog.text]
    assert any(canary in (folder / "IM0000.dcm").read_bytes().decode("latin-1") for canary in canaries)
    assert not [canary for canary in canaries for text in told if canary in text]


# ------------------------------------------------------------------ real data
def test_a_real_ct_agrees_with_simpleitk(real_data: Path) -> None:
    import SimpleITK as sitk

    folder = real_data / "dicom_seg_dcmqi" / "ct-3slice"
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    theirs = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    volume = read_dicom(folder)
    padding = theirs < -1024
    np.testing.assert_array_equal(volume.array[0][~padding], theirs[~padding])
    assert np.all(volume.array[0][padding] == -1024)
    assert padding.sum() == 167316
    np.testing.assert_allclose(volume.grid.affine, LPS_TO_RAS @ affine, atol=1e-5)


def test_a_series_too_large_for_memory_is_named_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    (tmp_path / "Doe_Jane").mkdir()
    for path in sorted(study.glob("*.dcm"))[:3]:
        (tmp_path / "Doe_Jane" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("medseg.io.decoder.MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"^ct00\d\.dcm: its header claims"):
        read_dicom(tmp_path / "Doe_Jane")
