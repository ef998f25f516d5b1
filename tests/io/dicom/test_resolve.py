"""What a policy decides, what it does not, and what is said of it."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_edits import (
    BOTH,
    FAILING,
    FIRST,
    RESAMPLE,
    STORED,
    UPRIGHT,
    Edit,
    Write,
    at,
    both,
    brighter,
    every,
    heights,
    only,
    other_uid,
    refusal,
    source_of,
    with_copy,
    write_phases,
)

from medseg.io.dicom import describe_dicom, read_dicom
from medseg.io.policy import Policy
from medseg.volume import Grid, Planes


# ------------------------------------------------------------------ clean series under any policy
@pytest.mark.parametrize("policy", [RESAMPLE, Policy(gaps="allow"), BOTH, FIRST, Policy(phase=1)])
def test_a_clean_series_is_the_same_under_every_policy(
    tmp_path: Path, write_series: Write, policy: Policy
) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    volume = read_dicom(folder, policy)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    source = source_of(volume)
    assert (source.native, source.verdict, source.policies, source.decided) == (volume.grid, "ok", (), ())


@pytest.mark.parametrize("policy", [BOTH, Policy(gaps="allow"), FIRST, Policy(phase=1)])
@pytest.mark.parametrize(
    ("place", "words"), [((3, 0, 0), "3.00 mm off the line"), ((0, 1, 0), "1.00 mm off the line")]
)
def test_no_policy_takes_a_shifted_slice(
    tmp_path: Path, write_series: Write, policy: Policy, place: tuple[float, float, float], words: str
) -> None:
    places = heights(2.5 * np.arange(8))
    places[5] = places[5] + place
    assert words in refusal(write_series(tmp_path / "ct", STORED, edit=at(places)), policy)


# ------------------------------------------------------------------ duplicates
@pytest.mark.parametrize("number", [99, None], ids=["higher number", "no number"])
def test_the_first_of_duplicates_is_kept_and_told(
    tmp_path: Path, write_series: Write, number: int | None
) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, brighter, every(InstanceNumber=number)))
    assert "--duplicates first" in refusal(folder)
    volume = read_dicom(folder, FIRST)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    source = source_of(volume)
    assert source.verdict == "duplicate positions"
    assert source.decided == (
        "duplicate positions: 1 image at 1 position left out, the lowest InstanceNumber kept",
    )
    assert len(source.files) == 8


def test_the_lowest_number_counts_and_not_the_name(tmp_path: Path, write_series: Write) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, brighter, every(InstanceNumber=0)))
    array = read_dicom(folder, FIRST).array[0]
    np.testing.assert_array_equal(array[:, :, 3], STORED[:, :, 3] - 1023)
    np.testing.assert_array_equal(array[:, :, 4], STORED[:, :, 4] - 1024)


@pytest.mark.parametrize("number", [4, None], ids=["same number", "no number"])
def test_nothing_but_a_number_says_which_is_first(
    tmp_path: Path, write_series: Write, number: int | None
) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, brighter, every(InstanceNumber=number)))
    if number is None:
        write_series(folder, STORED, edit=every(InstanceNumber=None))
    assert refusal(folder, FIRST) == (
        "ct: duplicate: IM0003.dcm and again/IM0003.dcm lie at the same position, z=47.50 mm; --duplicates "
        "first cannot decide: nothing says which is first, IM0003.dcm or again/IM0003.dcm (InstanceNumber); "
        "remove one of them"
    )


def test_a_tie_behind_the_first_does_not_matter(tmp_path: Path, write_series: Write) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, brighter, every(InstanceNumber=50)))

    def third(k: int, dataset: Any) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.88.{k}"
        dataset.PixelData = (STORED[:, :, k].T + np.int16(2)).tobytes()
        dataset.InstanceNumber = 50

    other = write_series(folder / "third", STORED, edit=third)
    for k in set(range(8)) - {3}:
        (other / f"IM{k:04d}.dcm").unlink()
    np.testing.assert_array_equal(read_dicom(folder, FIRST).array[0], STORED - 1024)


# ------------------------------------------------------------------ what tags say against a whole stack
def counting(step: int, start: int = 1) -> Edit:
    def edit(k: int, dataset: Any) -> None:
        dataset.InstanceNumber = start + step * k

    return edit


COUNTED = "InstanceNumber counts by {}: {} may be missing, or be of another kind"
SHARED = "{} slices share a SOPInstanceUID: no result can refer to one of them"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (counting(2), (COUNTED.format(2, "every second image"),)),
        (counting(-2, 40), (COUNTED.format(2, "every second image"),)),
        (counting(3), (COUNTED.format(3, "2 of 3 images"),)),
        (counting(1, 17), ()),
        (counting(-1, 8), ()),
        (counting(0), ()),
        (both(counting(2), only(4, InstanceNumber=8)), ()),
        (both(counting(2), only(4, InstanceNumber=None)), ()),
        (every(SOPInstanceUID="1.2.3.5"), (SHARED.format(8),)),
        (only(4, SOPInstanceUID="1.2.3.1.2"), (SHARED.format(2),)),
    ],
)
def test_numbers_and_uids_that_do_not_go_with_a_whole_stack_are_told(
    tmp_path: Path, write_series: Write, edit: Edit, told: tuple[str, ...]
) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    assert source_of(read_dicom(folder)).policies == told
    (candidate,) = describe_dicom(folder)
    assert (candidate.verdict, candidate.detail) == ("ok", "; ".join(told))


def test_the_numbers_of_one_phase_are_no_doubt(tmp_path: Path, write_series: Write) -> None:
    edits = [both(every(AcquisitionNumber=n), counting(2, n)) for n in (1, 2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    assert source_of(read_dicom(folder, Policy(phase=1))).policies == ()


# ------------------------------------------------------------------ the patient
def test_decisions_name_no_patient(
    tmp_path: Path, write_series: Write, canaries: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = write_phases(
        write_series, tmp_path / "ct", [every(AcquisitionNumber=1), every(AcquisitionNumber=2)]
    )
    told = [repr(source_of(read_dicom(folder, Policy(phase=1)))), refusal(folder), caplog.text]
    assert not [canary for canary in canaries for text in told if canary in text]


# ------------------------------------------------------------------ real data
def test_a_real_tilted_head_is_made_upright(real_data: Path) -> None:
    folder = real_data / FAILING / "gantrytilting" / "001"
    volume = read_dicom(folder, UPRIGHT)
    source = source_of(volume)
    # 5 mm along the table, 14 degrees against the normal of the slices
    assert volume.grid.spacing == pytest.approx((0.41797, 0.41797, 5 * np.cos(np.radians(14))), abs=1e-4)
    assert volume.grid.shape == (512, 512 + 9, 4)  # 3 x 1.21 mm aside
    assert source.verdict == "gantry tilt"
    assert isinstance(source.native, Grid)
    np.testing.assert_allclose(source.native.affine[:3, 2], (0, 0, 5), atol=1e-6)


def test_a_real_gap_is_filled_in(real_data: Path) -> None:
    volume = read_dicom(real_data / FAILING / "sliceincrement" / "001", RESAMPLE)
    assert volume.grid.shape == (512, 512, 5)
    assert volume.grid.spacing[2] == pytest.approx(5, abs=1e-5)
    between = (volume.array[0, :, :, 2].astype(float) + volume.array[0, :, :, 4]) / 2
    np.testing.assert_array_equal(volume.array[0, :, :, 3], np.rint(between))
    native = source_of(volume).native
    assert isinstance(native, Planes)
    assert [grid.affine[2, 3] for grid in native.grids()] == pytest.approx(
        [18.1075, 23.1075, 28.107498, 38.107498]
    )


def test_a_real_series_with_a_gap_and_a_tilt_needs_both(real_data: Path) -> None:
    folder = real_data / FAILING / "sliceincrement" / "002"
    assert "gantry tilt 15.5 degrees" in refusal(folder, RESAMPLE)
    assert "missing" in refusal(folder, UPRIGHT)
    volume = read_dicom(folder, BOTH)
    assert volume.grid.shape[2] == 5
    assert volume.grid.spacing[2] == pytest.approx(0.778 * np.cos(np.radians(15.5)), abs=1e-4)
    assert source_of(volume).verdict == "missing slice, gantry tilt"


@pytest.mark.parametrize("policy", [BOTH, FIRST, Policy(phase=1)])
def test_a_real_slice_over_time_is_no_volume_under_any_policy(real_data: Path, policy: Policy) -> None:
    assert "4 images at one position" in refusal(real_data / FAILING / "notavolume" / "001", policy)
