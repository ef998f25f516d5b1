"""Every tolerance of the DICOM reader from both sides: what is rounding, and what is just too much for it.

docs/explanation/geometry.md has the tolerances in a table.
"""

from pathlib import Path

import numpy as np
import pytest
from dicom_edits import (
    BOTH,
    STORED,
    UPRIGHT,
    Write,
    at,
    both,
    brighter,
    every,
    leaning,
    only,
    other_uid,
    place,
    refusal,
    source_of,
    with_copy,
)

from medseg.io.dicom import read_dicom
from medseg.io.policy import Policy

ROW, STEP = 0.9, 2.5  # mm, of the series that are written here
HU = STORED - 1024


@pytest.mark.parametrize(
    ("degrees", "tilted"), [(0.098, False), (0.102, True), (-0.098, False), (-0.102, True)]
)
def test_tilt_of_a_tenth_of_a_degree(
    tmp_path: Path, write_series: Write, degrees: float, tilted: bool
) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=at(leaning(degrees, 8)))
    if tilted:
        assert "gantry tilt 0.1 degrees" in refusal(folder)
    else:
        np.testing.assert_array_equal(read_dicom(folder).array[0], HU)


@pytest.mark.parametrize(
    ("columns", "same"), [("0.70006", True), ("0.70008", False), ("0.69994", True), ("0.69992", False)]
)
def test_pixel_spacing_of_a_ten_thousandth(
    tmp_path: Path, write_series: Write, columns: str, same: bool
) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=only(3, PixelSpacing=["0.9", columns]))
    if same:
        np.testing.assert_array_equal(read_dicom(folder).array[0], HU)
    else:
        assert "one series mixes 7 + 1 images of different pixel spacing" in refusal(folder)


@pytest.mark.parametrize(("cosine", "same"), [(0.0099, True), (0.0101, False)])
def test_a_direction_of_a_hundredth(tmp_path: Path, write_series: Write, cosine: float, same: bool) -> None:
    turned = [1, 0, 0, 0, f"{np.sqrt(1 - cosine**2):.8f}", f"{cosine:.8f}"]
    folder = write_series(tmp_path / "ct", STORED, edit=only(3, ImageOrientationPatient=turned))
    if same:
        assert source_of(read_dicom(folder)).policies[0].startswith("orientations differ by up to 0.09 mm")
    else:
        assert "one series mixes 7 + 1 images of different orientation" in refusal(folder)


@pytest.mark.parametrize(
    ("slices", "phases"), [((2, 3, 4, 5), True), ((3, 4, 5), False)], ids=["half", "less"]
)
def test_a_phase_has_half_of_the_positions_at_least(
    tmp_path: Path, write_series: Write, slices: tuple[int, ...], phases: bool
) -> None:
    late = both(other_uid, brighter, every(AcquisitionNumber=2))
    folder = with_copy(write_series, tmp_path / "ct", late, slices=slices)
    write_series(folder, STORED, edit=every(AcquisitionNumber=1))
    if phases:
        assert "2 phases told apart by AcquisitionNumber 1, 2; --phase N" in refusal(folder)
        volume = read_dicom(folder, Policy(phase=2))
        np.testing.assert_array_equal(volume.array[0], HU[:, :, list(slices)] + 1)
    else:
        assert "duplicate: IM0003.dcm and again/IM0003.dcm lie at the same position" in refusal(folder)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("off", "copy"), [(0.004, True), (0.006, False)])
def test_a_copy_lies_within_the_rounding_of_two_decimals(
    tmp_path: Path, write_series: Write, axis: int, off: float, copy: bool
) -> None:
    here = place(0, 0, 3 * STEP) + off * np.eye(3)[axis]
    moved = both(other_uid, every(ImagePositionPatient=[f"{number:.6f}" for number in here]))
    folder = with_copy(write_series, tmp_path / "ct", moved)
    if copy:
        volume = read_dicom(folder)
        np.testing.assert_array_equal(volume.array[0], HU)
        assert source_of(volume).policies == ("1 exact copy dropped",)
    else:
        assert "lie at the same position" in refusal(folder)


# ------------------------------------------------------------------ where a slice ends
def aside(rows: float, count: int = 8) -> list[np.ndarray]:
    """Places of an axial stack whose slices move back by so many rows each."""
    return [place(0, ROW * rows * k, STEP * k) for k in range(count)]


@pytest.mark.parametrize(("rows", "reached"), [(0.5, True), (0.5005, True), (0.503, False)])
def test_a_slice_ends_half_a_voxel_beyond_its_outermost_centres(
    tmp_path: Path, write_series: Write, rows: float, reached: bool
) -> None:
    """The first row of the grid lies `rows` rows before the second slice's first centre."""
    volume = read_dicom(write_series(tmp_path / "ct", STORED, edit=at(aside(rows))), UPRIGHT)
    np.testing.assert_array_equal(volume.array[0, :, :10, 0], HU[:, :, 0])
    first = volume.array[0, :, 0, 1]
    np.testing.assert_array_equal(first, HU[:, 0, 1] if reached else np.full(12, -1024))
    assert np.all(volume.array[0, :, 1, 1] > -1024)  # within the slice it is always there


def test_a_slice_ends_half_a_voxel_beyond_its_last_centre_too(tmp_path: Path, write_series: Write) -> None:
    for rows, reached in ((0.5, True), (0.497, False)):
        folder = write_series(tmp_path / str(rows), STORED, edit=at(aside(rows)))
        array = read_dicom(folder, UPRIGHT).array[0]
        # row 10 lies 10 - rows rows behind the second slice's first centre, whose last is number 9
        np.testing.assert_array_equal(array[:, 10, 1], HU[:, 9, 1] if reached else np.full(12, -1024))


def test_at_the_rim_of_a_gap_the_slice_that_reaches_counts_alone(tmp_path: Path, write_series: Write) -> None:
    """Slices two rows aside each way of a missing one: rows of both, of one, and of none."""
    folder = write_series(tmp_path / "ct", STORED, edit=at(aside(1.0)))
    (folder / "IM0003.dcm").unlink()
    array = read_dicom(folder, BOTH).array[0]
    assert array.shape == (12, 17, 8)
    between = array[:, :, 3].astype(float)
    np.testing.assert_array_equal(between[:, 4:12], np.rint((HU[:, 2:10, 2] + HU[:, 0:8, 4]) / 2))
    np.testing.assert_array_equal(between[:, 2:4], HU[:, 0:2, 2])
    np.testing.assert_array_equal(between[:, 12:14], HU[:, 8:10, 4])
    assert np.all(between[:, :2] == -1024)
    assert np.all(between[:, 14:] == -1024)
