"""Several phases in one series: told apart, read one at a time, never mixed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs.dicom_bytes import save
from bad_inputs.dicom_frames import enhanced
from dicom_edits import FIRST, SPACING, STORED, Edit, Write, every, refusal, source_of, write_phases

from medseg.io.dicom import describe_dicom, read_dicom
from medseg.io.policy import Policy

# ------------------------------------------------------------------ phases
TOLD: dict[str, tuple[list[Any], str]] = {
    "TemporalPositionIdentifier": ([1, 2, 10], "1, 2, 10"),
    "AcquisitionNumber": ([9, 10, 11], "9, 10, 11"),
    "EchoTime": ([4.6, 9.2, 13.8], "4.6, 9.2, 13.8 ms"),
    "TriggerTime": ([0, 80.5, 700], "0, 80.5, 700 ms"),
    "ContentTime": (["093000.5", "093010", "101500"], "93000.5, 93010, 101500"),
}


@pytest.mark.parametrize("keyword", TOLD)
def test_phases_are_told_apart_by_their_tag_in_its_order(
    tmp_path: Path, write_series: Write, keyword: str
) -> None:
    values, shown = TOLD[keyword]
    folder = write_phases(write_series, tmp_path / "ct", [every(**{keyword: value}) for value in values])
    (candidate,) = describe_dicom(folder)
    assert candidate.verdict == "several phases"
    assert f"3 phases told apart by {keyword} {shown}; --phase N reads one of them" in candidate.detail
    assert f"told apart by {keyword} {shown}" in refusal(folder)
    for n in range(3):
        volume = read_dicom(folder, Policy(phase=n + 1))
        np.testing.assert_array_equal(volume.array[0], STORED + n - 1024)
        assert volume.grid.spacing == pytest.approx(SPACING)
        source = source_of(volume)
        assert source.verdict == "several phases"
        one = shown.removesuffix(" ms").split(", ")[n] + (" ms" if "ms" in shown else "")
        assert source.decided == (f"several phases: phase {n + 1} of 3 read, {keyword} {one}",)
        assert {file.parent.name for file in source.files} == {"cba"[n]}
    assert refusal(folder, Policy(phase=4)).endswith(
        f"there is no phase 4: the series has 3 phases, told apart by {keyword} {shown}"
    )


def test_two_tags_together_tell_phases_apart(tmp_path: Path, write_series: Write) -> None:
    edits = [
        every(AcquisitionNumber=1, EchoTime=5),
        every(AcquisitionNumber=1, EchoTime=10),
        every(AcquisitionNumber=2, EchoTime=5),
    ]
    folder = write_phases(write_series, tmp_path / "mr", edits)
    source = source_of(read_dicom(folder, Policy(phase=2)))
    assert source.decided == ("several phases: phase 2 of 3 read, AcquisitionNumber 1 and EchoTime 10 ms",)


def test_without_a_tag_the_number_tells_and_the_note_says_so(tmp_path: Path, write_series: Write) -> None:
    folder = write_phases(write_series, tmp_path / "ct", [every(), every()])
    assert "2 phases that no tag tells apart" in refusal(folder)
    volume = read_dicom(folder, Policy(phase=1))  # numbers run backwards: the second one written
    np.testing.assert_array_equal(volume.array[0], STORED + 1 - 1024)
    assert source_of(volume).decided == (
        "several phases: phase 1 of 2 read, image 1 by InstanceNumber at each position",
    )


def test_phases_that_nothing_tells_apart_stay_refused(tmp_path: Path, write_series: Write) -> None:
    folder = write_phases(write_series, tmp_path / "ct", [every(InstanceNumber=1)] * 2)
    for policy in (Policy(), Policy(phase=1)):
        assert "nothing tells apart" in refusal(folder, policy)


def test_phases_may_cover_different_heights(tmp_path: Path, write_series: Write) -> None:
    edits = [every(AcquisitionNumber=1), every(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for k in (6, 7):
        (folder / "c" / f"IM{k:04d}.dcm").unlink()
    assert "2 phases told apart by AcquisitionNumber 1, 2" in describe_dicom(folder)[0].detail
    assert read_dicom(folder, Policy(phase=1)).grid.shape == (12, 10, 6)
    assert read_dicom(folder, Policy(phase=2)).grid.shape == (12, 10, 8)


def test_a_stray_image_is_no_phase(tmp_path: Path, write_series: Write) -> None:
    edits = [every(AcquisitionNumber=1), every(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for k in range(1, 8):
        (folder / "b" / f"IM{k:04d}.dcm").unlink()
    assert describe_dicom(folder)[0].verdict == "duplicate positions"
    assert "lie at the same position" in refusal(folder, Policy(phase=1))


def test_slabs_that_overlap_a_little_are_no_phases(tmp_path: Path, write_series: Write) -> None:
    edits = [every(AcquisitionNumber=1), every(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for k in range(8):
        if k > 4:
            (folder / "c" / f"IM{k:04d}.dcm").unlink()
        if k < 4:
            (folder / "b" / f"IM{k:04d}.dcm").unlink()
    assert describe_dicom(folder)[0].verdict == "duplicate positions"
    np.testing.assert_array_equal(read_dicom(folder, FIRST).array[0][:, :, 4], STORED[:, :, 4] - 1023)


def test_the_first_of_each_never_mixes_phases(tmp_path: Path, write_series: Write) -> None:
    def mixed(n: int) -> Edit:
        def edit(k: int, dataset: Any) -> None:
            dataset.EchoTime, dataset.InstanceNumber = n, 2 * k + (k + n) % 2

        return edit

    folder = write_phases(write_series, tmp_path / "mr", [mixed(1), mixed(2)])
    assert "--duplicates first would mix them" in refusal(folder, FIRST)
    np.testing.assert_array_equal(read_dicom(folder, Policy(phase=2)).array[0], STORED + 1 - 1024)


@pytest.mark.parametrize("phase", [2, 7])
def test_a_phase_of_a_series_that_has_one(tmp_path: Path, write_series: Write, phase: int) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    assert f"there is no phase {phase}: the series has one phase" in refusal(folder, Policy(phase=phase))


def test_a_phase_is_checked_like_a_series(tmp_path: Path, write_series: Write) -> None:
    edits = [every(AcquisitionNumber=1), every(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for phase in "cb":
        (folder / phase / "IM0003.dcm").unlink()
    assert "1 slice is probably missing" in refusal(folder, Policy(phase=2))
    source = source_of(read_dicom(folder, Policy(phase=2, gaps="resample")))
    assert source.verdict == "several phases, missing slice"
    assert len(source.decided) == 2


# ------------------------------------------------------------------ frames of one file
def write_frames(
    folder: Path, order: Sequence[int], tell: Callable[[int, Any], None] | None = None, *, brighter: int = 0
) -> Path:
    """An enhanced CT with a frame for each position in `order`, frame n by n x `brighter` brighter."""
    folder.mkdir()
    ds = enhanced("phases", order)
    stored = np.frombuffer(ds[0x7FE00010].value, "<i2").reshape(len(order), -1)
    ds[0x7FE00010].value = (stored + brighter * np.arange(len(order))[:, None]).astype("<i2").tobytes()
    for n, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        if tell is not None:
            tell(n, groups.FrameContentSequence[0])
    save(ds, folder / "volume.dcm")
    return folder


def test_time_points_of_a_multi_frame_file(tmp_path: Path) -> None:
    def tell(n: int, content: Any) -> None:
        content.TemporalPositionIndex = 1 if n >= 12 else 2  # the later one comes first

    folder = write_frames(tmp_path / "ct", [*range(12), *range(12)], tell, brighter=1)
    assert "2 phases told apart by TemporalPositionIdentifier 1, 2" in refusal(folder)
    first, second = (read_dicom(folder, Policy(phase=phase)) for phase in (1, 2))
    assert np.all(first.array - second.array == 12)
    source = source_of(first)
    assert source.files == (folder / "volume.dcm",)
    assert len(source.sha256) == 1
    assert len(source.headers) == first.grid.shape[2] == 12


def test_without_a_tag_frames_count_in_their_order(tmp_path: Path) -> None:
    order = [k for k in range(12) for _ in range(3)]
    folder = write_frames(tmp_path / "ct", order, brighter=1)
    first, third = (read_dicom(folder, Policy(phase=phase)) for phase in (1, 3))
    assert np.all(third.array - first.array == 2)
    assert source_of(third).decided == (
        "several phases: phase 3 of 3 read, image 3 by the order of frames at each position",
    )


def test_equal_frames_are_copies(tmp_path: Path) -> None:
    volume = read_dicom(write_frames(tmp_path / "ct", [*range(12), *range(12)]))
    assert volume.grid.shape[2] == 12
    assert source_of(volume).policies[0] == "12 exact copies dropped"


def test_a_missing_frame_is_filled_in(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "ct", [k for k in range(12) if k != 5])
    assert "frame 5 and volume.dcm, frame 6 are 5.00 mm apart" in refusal(folder)
    assert read_dicom(folder, Policy(gaps="resample")).grid.shape[2] == 12
