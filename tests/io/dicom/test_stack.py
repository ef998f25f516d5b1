"""Doubtful geometry by name and in millimetres: what is refused without a policy, and what is rounding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_edits import FAILING, SPACING, STORED, Edit, Write, every, only, place, refusal

from medseg.errors import GeometryError
from medseg.io.dicom import describe_dicom, dicom_files, read_dicom


def moved(by: Callable[[int], tuple[float, float, float]]) -> Edit:
    """Each slice `by(k)` mm from its place 2.5 k mm above the first."""

    def edit(k: int, dataset: Any) -> None:
        here = place(0, 0, 2.5 * k) + np.array(by(k))
        dataset.ImagePositionPatient = [f"{number:.6f}" for number in here]

    return edit


# ------------------------------------------------------------------ refused, with numbers
GEOMETRY = {
    "uneven": (
        moved(lambda k: (0, 0, 2.5 * max(0, k - 4) * 0.5)),
        "uneven spacing",
        "varies from 2.500 to 3.750 mm",
    ),
    "jitter": (moved(lambda k: (0, 0, 0.1 * (-1) ** k)), "uneven spacing", "varies from 2.300 to 2.700 mm"),
    "0.05 mm": (
        moved(lambda k: (0, 0, 0.025 * (-1) ** k)),
        "uneven spacing",
        "varies from 2.450 to 2.550 mm",
    ),
    "drift": (moved(lambda k: (0, 0, 0.003 * k * k)), "uneven spacing", "off an even stack; --gaps resample"),
    "2 mm then 5 mm": (
        moved(lambda k: (0, 0, -0.5 * k if k < 5 else 2.5 * k - 14.5)),
        "uneven spacing",
        "varies from 2.000 to 5.000 mm",
    ),
    "tilt": (
        moved(lambda k: (0, 2.5 * k * np.tan(np.radians(15)), 0)),
        "gantry tilt",
        "gantry tilt 15.0 degrees: each slice is shifted by 0.67 mm against the one before, so the voxels "
        "are not upright boxes; --tilt resample makes them so",
    ),
    "tilt sideways": (
        moved(lambda k: (-2.5 * k * np.tan(np.radians(3)), 0, 0)),
        "gantry tilt",
        "gantry tilt 3.0 degrees",
    ),
    "one aside": (moved(lambda k: (3.0 * (k == 4), 0, 0)), "shifted slice", "IM0004.dcm lies 3.00 mm off"),
    "last aside": (moved(lambda k: (3.0 * (k == 7), 0, 0)), "shifted slice", "IM0007.dcm lies 3.00 mm off"),
    "first aside": (moved(lambda k: (0, 1.0 * (k == 0), 0)), "shifted slice", "IM0000.dcm lies 1.00 mm off"),
    "same place": (
        moved(lambda k: (0, 0, -2.5 * k)),
        "not a volume",
        "8 images at one position, z=40.00 mm",
    ),
    "almost the same place": (
        moved(lambda k: (0, 0, -2.5 * k + 1e-5 * (k % 2))),
        "not a volume",
        "8 images at one position, z=40.00 mm",
    ),
    "twice": (
        moved(lambda k: (0, 0, -2.5 * (k == 7))),
        "duplicate positions",
        "IM0006.dcm and IM0007.dcm lie at the same position, z=55.00 mm; keep one of them, or let",
    ),
    "no spacing": (every(PixelSpacing=None), "no PixelSpacing", "IM0000.dcm has no PixelSpacing"),
    "zero spacing": (every(PixelSpacing=[0, 0]), "no PixelSpacing", "PixelSpacing of [0.0, 0.0] mm"),
    "no position": (
        every(ImagePositionPatient=None),
        "no position",
        "IM0000.dcm has no ImagePositionPatient",
    ),
    "no orientation": (
        every(ImageOrientationPatient=None),
        "no orientation",
        "has no ImageOrientationPatient",
    ),
    "flat": (
        every(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "no orientation",
        "not two directions at right angles",
    ),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_doubtful_geometry_is_refused_with_numbers(tmp_path: Path, write_series: Write, name: str) -> None:
    edit, verdict, words = GEOMETRY[name]
    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    with pytest.raises(GeometryError) as caught:
        read_dicom(folder)
    assert words in str(caught.value)
    candidate = describe_dicom(folder)[0]
    assert (candidate.verdict, candidate.readable) == (verdict, False)
    assert words in candidate.detail
    with pytest.raises(GeometryError):
        dicom_files(folder)


def test_a_missing_slice_is_named_with_its_place_in_mm(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    (folder / "IM0003.dcm").unlink()
    assert refusal(folder) == (
        "ct: slices IM0002.dcm and IM0004.dcm are 5.00 mm apart, the others 2.50 mm: "
        "1 slice is probably missing after z=45.00 mm; --gaps resample fills it in"
    )


def test_missing_slices_are_counted_in_all_places(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", np.zeros((4, 4, 12), np.int16))
    for k in (1, 4, 5):
        (folder / f"IM{k:04d}.dcm").unlink()
    assert "3 slices are probably missing in 2 places, first after z=40.00 mm" in refusal(folder)


def test_a_missing_slice_is_found_among_three(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED[:, :, :4])
    (folder / "IM0002.dcm").unlink()
    assert "1 slice is probably missing" in refusal(folder)


def test_a_missing_slice_of_a_tilted_stack_is_no_shifted_slice(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=GEOMETRY["tilt"][0])
    (folder / "IM0003.dcm").unlink()
    assert refusal(folder).endswith(
        "1 slice is probably missing after z=45.00 mm, and gantry tilt 15.0 degrees; --gaps resample fills "
        "it in"
    )


def test_one_slice_is_not_a_volume(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED[:, :, :1])
    assert "IM0000.dcm is a single slice, not a volume" in refusal(folder)
    assert describe_dicom(folder)[0].verdict == "not a volume"


def test_one_file_of_a_series_sends_to_its_folder(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    assert "give the folder of its series" in refusal(folder / "IM0002.dcm")


def test_a_slice_turned_a_little_too_far_is_refused(tmp_path: Path, write_series: Write) -> None:
    turned = [1, 0, 0, 0, float(np.cos(0.009)), float(np.sin(0.009))]
    big = np.zeros((100, 100, 3), np.int16)
    message = refusal(
        write_series(tmp_path / "ct", big, edit=only(2, ImageOrientationPatient=[f"{x:.8f}" for x in turned]))
    )
    assert "IM0002.dcm is turned against the other slices by 0.81 mm" in message


# ------------------------------------------------------------------ accepted
@pytest.mark.parametrize(
    "by",
    [
        lambda k: (0, 0, 4e-4 * (-1) ** k),
        lambda k: (0, 0, 0.008 * (k % 2)),
        lambda k: (0.004 * (k % 2), 0, 0),
    ],
    ids=["0.4 um", "two decimals", "sideways"],
)
def test_rounded_positions_are_no_fault(
    tmp_path: Path, write_series: Write, by: Callable[[int], tuple[float, float, float]]
) -> None:
    volume = read_dicom(write_series(tmp_path / "ct", STORED, edit=moved(by)))
    assert volume.grid.spacing == pytest.approx(SPACING, abs=0.002)
    assert volume.source is not None
    assert (volume.source.verdict, volume.source.policies) == ("ok", ())


def test_a_small_turn_is_accepted_and_told(tmp_path: Path, write_series: Write) -> None:
    turned = [1, 0, 0, 0, float(np.cos(0.002)), float(np.sin(0.002))]
    stored = np.zeros((100, 100, 3), np.int16)
    edit = only(1, ImageOrientationPatient=[f"{x:.8f}" for x in turned])
    source = read_dicom(write_series(tmp_path / "ct", stored, edit=edit)).source
    assert source is not None
    # 100 rows of 0.9 mm, turned by 0.002
    assert source.policies == (
        "orientations differ by up to 0.18 mm at the far corner: the first slice's is taken",
    )


def test_pixels_that_are_not_square_keep_rows_and_columns_apart(tmp_path: Path, write_series: Write) -> None:
    # between rows first (PS3.3 10.7.1.3): rows 0.5 mm apart, columns 2.0 mm
    grid = read_dicom(write_series(tmp_path / "ct", STORED, edit=every(PixelSpacing=[0.5, 2.0]))).grid
    assert grid.spacing == pytest.approx((2.0, 0.5, 2.5))
    np.testing.assert_allclose(grid.to_world([11, 9, 0]), (30 - 22.0, 20 - 4.5, 40))


def test_an_oblique_stack_is_not_tilted(tmp_path: Path, write_series: Write) -> None:
    angle = np.radians(20)
    orientation = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
    volume = read_dicom(write_series(tmp_path / "ct", STORED, orientation=orientation))
    assert volume.grid.spacing == pytest.approx(SPACING)
    np.testing.assert_allclose(
        volume.grid.affine[:3, 2], 2.5 * np.array([0, np.sin(angle), np.cos(angle)]), atol=1e-8
    )


def test_a_localizer_within_the_series_is_left_out(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    scout = every(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    write_series(folder / "scout", STORED[:, :, :1], edit=scout)
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.grid.spacing == pytest.approx(SPACING)
    assert volume.source is not None
    assert "(localizer)" in volume.source.policies[0]


# ------------------------------------------------------------------ real data, each looked at by hand
@pytest.mark.parametrize(
    ("case", "verdict", "reason"),
    [
        ("gantrytilting/001", "gantry tilt", "gantry tilt 14.0 degrees: each slice is shifted by 1.21 mm"),
        # a bolus-tracking series: one slice at four times
        ("notavolume/001", "not a volume", "4 images at one position, z=61.50 mm"),
        ("sliceincrement/001", "missing slice", "10.00 mm apart, the others 5.00 mm"),
        ("sliceincrement/002", "missing slice", "1.50 mm apart, the others 0.75 mm"),
    ],
)
def test_real_broken_series_are_refused_for_the_right_reason(
    real_data: Path, case: str, verdict: str, reason: str
) -> None:
    folder = real_data / FAILING / case
    assert reason in refusal(folder)
    (candidate,) = describe_dicom(folder)
    assert (candidate.verdict, reason in candidate.detail) == (verdict, True)


def test_a_real_series_of_two_orientations_is_refused(real_data: Path) -> None:
    message = refusal(real_data / FAILING / "sliceorientation" / "001")
    assert "2 + 2 images of different" in message
    assert "orientation" in message


def test_two_real_slices_side_by_side_are_a_volume(real_data: Path) -> None:
    # sagittal MR slices 1 mm apart: thin, but nothing about them is doubtful
    volume = read_dicom(real_data / FAILING / "slicecount" / "001")
    assert volume.grid.shape == (256, 256, 2)
    assert volume.grid.spacing == pytest.approx((1, 1, 1))
    assert volume.grid.axis_codes == "PIR"


def test_a_real_tilt_is_the_angle_between_the_slices_and_the_table(real_data: Path) -> None:
    import pydicom

    folder = real_data / FAILING / "gantrytilting" / "001"
    first, second, *_ = (pydicom.dcmread(file) for file in sorted(folder.iterdir()))
    row, column = np.split(np.array(first.ImageOrientationPatient, float), 2)
    table = np.array(second.ImagePositionPatient, float) - np.array(first.ImagePositionPatient, float)
    np.testing.assert_allclose(table, (0, 0, 5), atol=1e-9)  # the table moves along z, 5 mm a slice
    cosine = np.cross(row, column) @ table / 5
    assert np.degrees(np.arccos(cosine)) == pytest.approx(14.0, abs=0.01)  # the files lack GantryDetectorTilt
    assert f"gantry tilt {np.degrees(np.arccos(cosine)):.1f} degrees" in refusal(folder)
    assert f"shifted by {5 * np.sqrt(1 - cosine**2):.2f} mm" in refusal(folder)
