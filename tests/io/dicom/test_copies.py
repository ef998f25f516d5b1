"""Images that are there more than once: dropped where all is equal, refused where anything differs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_edits import (
    FIRST,
    SPACING,
    STORED,
    Edit,
    Write,
    both,
    brighter,
    every,
    other_uid,
    refusal,
    source_of,
    with_copy,
)

from medseg.io.dicom import describe_dicom, dicom_files, read_dicom
from medseg.io.policy import Policy


# ------------------------------------------------------------------ exact copies
@pytest.mark.parametrize("edit", [None, other_uid], ids=["same UID", "another UID"])
@pytest.mark.parametrize("slices", [(3,), range(8)], ids=["one", "all"])
def test_exact_copies_are_dropped_with_a_note(
    tmp_path: Path, write_series: Write, edit: Edit | None, slices: Sequence[int]
) -> None:
    folder = with_copy(write_series, tmp_path / "ct", edit, slices=slices)
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.grid.spacing == pytest.approx(SPACING)
    what = "1 exact copy dropped" if len(slices) == 1 else "8 exact copies dropped"
    source = source_of(volume)
    assert (source.policies, source.verdict, source.decided) == ((what,), "ok", ())
    assert source.files == tuple(sorted(folder.glob("*.dcm")))
    assert dicom_files(folder) == source.files
    (candidate,) = describe_dicom(folder)
    assert (candidate.verdict, candidate.shape) == ("ok", (12, 10, 8))


@pytest.mark.parametrize(
    "edit",
    [every(RescaleIntercept=-1000), every(RescaleSlope=2), every(PixelPaddingValue=5)],
    ids=["intercept", "slope", "padding"],
)
def test_equal_pixels_of_another_scale_are_no_copies(tmp_path: Path, write_series: Write, edit: Edit) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, edit))
    assert "lie at the same position" in refusal(folder)
    assert describe_dicom(folder)[0].verdict == "duplicate positions"


def test_one_uid_for_two_images_is_a_conflict(tmp_path: Path, write_series: Write) -> None:
    folder = with_copy(write_series, tmp_path / "ct", brighter)
    assert "IM0003.dcm and again/IM0003.dcm have one SOPInstanceUID and different pixels" in refusal(
        folder, Policy()
    )
    assert describe_dicom(folder)[0].verdict == "conflicting copies"
    numbered = with_copy(write_series, tmp_path / "more", both(brighter, every(InstanceNumber=99)))
    source = source_of(read_dicom(numbered, FIRST))
    assert source.verdict == "conflicting copies"
    assert source.decided == (
        "conflicting copies: 1 image at 1 position left out, the lowest InstanceNumber kept",
    )


def test_an_image_that_must_be_compared_and_is_damaged_is_named(tmp_path: Path, write_series: Write) -> None:
    jpeg_ls = "1.2.840.10008.1.2.4.80"
    folder = write_series(tmp_path / "ct", STORED, syntax=jpeg_ls)
    again = write_series(folder / "again", STORED[:, :, :1], syntax=jpeg_ls, edit=other_uid)
    damaged = again / "IM0000.dcm"
    data = bytearray(damaged.read_bytes())
    frame = data.rfind(b"\xfe\xff\0\xe0") + 8
    data[frame : frame + 4] = bytes(4)  # the start of the image
    damaged.write_bytes(data)
    assert "IM0000.dcm: its pixel data" in refusal(folder)
    assert describe_dicom(folder)[0].verdict == "duplicate positions"  # as its headers say


def test_phases_that_are_equal_in_an_empty_slice_are_no_copies(tmp_path: Path, write_series: Write) -> None:
    def later(k: int, dataset: Any) -> None:
        other_uid(k, dataset)
        dataset.InstanceNumber = 100 + k
        if k != 0:
            brighter(k, dataset)

    folder = with_copy(write_series, tmp_path / "ct", later, slices=range(8))
    assert "2 images at each of 8 positions" in refusal(folder)
    second = read_dicom(folder, Policy(phase=2)).array[0]
    np.testing.assert_array_equal(second[:, :, 1:], STORED[:, :, 1:] - 1023)
    np.testing.assert_array_equal(second[:, :, 0], STORED[:, :, 0] - 1024)
