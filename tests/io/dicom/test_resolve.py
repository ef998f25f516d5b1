"""Doubts that a policy decides: what is read then, where it lies, and where results go back to."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.dicom import describe_dicom, dicom_files, read_dicom
from medseg.io.policy import Policy
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Planes, Source, Volume

STORED = np.arange(12 * 10 * 8, dtype=np.int16).reshape(12, 10, 8)  # columns, rows, slices
SPACING = (0.7, 0.9, 2.5)
PLACE = np.array([-30.0, -20.0, 40.0])  # LPS mm, as the writer of the series places them
FAILING = Path("dicom_odd", "dicom2nifti", "failing")
Write = Callable[..., Path]
Edit = Callable[[int, Any], None]

RADIUS = 20.0  # mm: 33.51 mL
BALL_ML = 4 / 3 * np.pi * RADIUS**3 / 1000
COLUMNS, ROWS = 72, 60  # 50.4 x 54 mm

RESAMPLE = Policy(gaps="resample")
UPRIGHT = Policy(tilt="resample")
BOTH = Policy(gaps="resample", tilt="resample")
FIRST = Policy(duplicates="first")


def setting(**changes: Any) -> Edit:
    """Set the same tags in every slice."""

    def edit(_k: int, dataset: Any) -> None:
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)

    return edit


def at(places: Sequence[Sequence[float]]) -> Edit:
    """Each slice at its own place, LPS mm."""

    def edit(k: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [f"{number:.9g}" for number in places[k]]

    return edit


def heights(values: Sequence[float]) -> list[NDArray[np.float64]]:
    return [PLACE + (0, 0, z) for z in values]


def leaning(degrees: float, count: int, step: float = 2.5) -> list[NDArray[np.float64]]:
    """Places of an axial stack whose slices move back by the tilt, as a gantry's do."""
    return [PLACE + (0, step * k * np.tan(np.radians(degrees)), step * k) for k in range(count)]


def ball_at(places: Sequence[Sequence[float]], centre: Sequence[float]) -> NDArray[np.bool_]:
    """Pixel centres `[column, row, slice]` of axial slices that lie within the ball; LPS mm."""
    x, y = 0.7 * np.arange(COLUMNS)[:, None], 0.9 * np.arange(ROWS)[None, :]
    slices = [
        (place[0] + x - centre[0]) ** 2 + (place[1] + y - centre[1]) ** 2 + (place[2] - centre[2]) ** 2
        <= RADIUS**2
        for place in places
    ]
    return np.stack(slices, axis=2)


def middle(places: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The middle of the field of view of a stack, LPS mm."""
    corners = np.array([places[0], places[-1]])
    return corners.mean(axis=0) + (0.7 * (COLUMNS - 1) / 2, 0.9 * (ROWS - 1) / 2, 0)


def ball_of(volume: Volume) -> Segmentation:
    table = LabelTable((Label(1, "ball"),))
    mask = volume.array > 0  # outside -500 HU, inside 500 HU
    return Segmentation(mask.astype(np.uint8), volume.grid, table)


def write_ball(
    write_series: Write, folder: Path, places: Sequence[Sequence[float]], centre: Sequence[float]
) -> Path:
    stored = np.where(ball_at(places, centre), 1524, 524).astype(np.int16)
    return write_series(folder, stored, edit=at(places))


def ml(mask: NDArray[np.bool_], grid: Grid) -> float:
    return float(mask.sum()) * grid.voxel_ml


def source_of(volume: Volume) -> Source:
    assert volume.source is not None
    return volume.source


def refusal(folder: Path, policy: Policy) -> str:
    with pytest.raises(InputError) as caught:
        read_dicom(folder, policy)
    with pytest.raises(InputError):
        dicom_files(folder, policy)
    message = str(caught.value)
    assert "\n" not in message
    return message


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


# ------------------------------------------------------------------ exact copies
def with_copy(
    write_series: Write, folder: Path, edit: Edit | None = None, *, slices: Sequence[int] = (3,)
) -> Path:
    """The series, and some of its slices once more in a folder below."""
    write_series(folder, STORED)
    again = write_series(folder / "again", STORED, edit=edit)
    for k in set(range(8)) - set(slices):
        (again / f"IM{k:04d}.dcm").unlink()
    return folder


def other_uid(k: int, dataset: Any) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.77.{k}"


def brighter(k: int, dataset: Any) -> None:
    dataset.PixelData = (STORED[:, :, k].T + np.int16(1)).tobytes()


def both(*edits: Edit) -> Edit:
    def edit(k: int, dataset: Any) -> None:
        for each in edits:
            each(k, dataset)

    return edit


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
    [setting(RescaleIntercept=-1000), setting(RescaleSlope=2), setting(PixelPaddingValue=5)],
    ids=["intercept", "slope", "padding"],
)
def test_equal_pixels_of_another_scale_are_no_copies(tmp_path: Path, write_series: Write, edit: Edit) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, edit))
    assert "lie at the same position" in refusal(folder, Policy())
    assert describe_dicom(folder)[0].verdict == "duplicate positions"


def test_one_uid_for_two_images_is_a_conflict(tmp_path: Path, write_series: Write) -> None:
    folder = with_copy(write_series, tmp_path / "ct", brighter)
    assert "IM0003.dcm and again/IM0003.dcm have one SOPInstanceUID and different pixels" in refusal(
        folder, Policy()
    )
    assert describe_dicom(folder)[0].verdict == "conflicting copies"
    source = source_of(read_dicom(folder, FIRST))
    assert source.verdict == "conflicting copies"
    assert source.decided == (
        "conflicting copies: 1 image at 1 position left out, the lowest InstanceNumber kept",
    )


def test_an_image_that_must_be_compared_and_is_damaged_is_named(tmp_path: Path, write_series: Write) -> None:
    rle = "1.2.840.10008.1.2.5"
    folder = write_series(tmp_path / "ct", STORED, syntax=rle)
    again = write_series(folder / "again", STORED[:, :, :1], syntax=rle, edit=other_uid)
    damaged = again / "IM0000.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-60])
    assert "IM0000.dcm: its pixel data" in refusal(folder, Policy())
    assert describe_dicom(folder)[0].verdict == "duplicate positions"  # as its headers say


def test_phases_that_are_equal_in_an_empty_slice_are_no_copies(tmp_path: Path, write_series: Write) -> None:
    def later(k: int, dataset: Any) -> None:
        other_uid(k, dataset)
        dataset.InstanceNumber = 100 + k
        if k != 0:
            brighter(k, dataset)

    folder = with_copy(write_series, tmp_path / "ct", later, slices=range(8))
    assert "2 images at each of 8 positions" in refusal(folder, Policy())
    second = read_dicom(folder, Policy(phase=2)).array[0]
    np.testing.assert_array_equal(second[:, :, 1:], STORED[:, :, 1:] - 1023)
    np.testing.assert_array_equal(second[:, :, 0], STORED[:, :, 0] - 1024)


# ------------------------------------------------------------------ duplicates
@pytest.mark.parametrize("number", [99, None], ids=["higher number", "no number"])
def test_the_first_of_duplicates_is_kept_and_told(
    tmp_path: Path, write_series: Write, number: int | None
) -> None:
    folder = with_copy(
        write_series, tmp_path / "ct", both(other_uid, brighter, setting(InstanceNumber=number))
    )
    assert "--duplicates first" in refusal(folder, Policy())
    volume = read_dicom(folder, FIRST)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    source = source_of(volume)
    assert source.verdict == "duplicate positions"
    assert source.decided == (
        "duplicate positions: 1 image at 1 position left out, the lowest InstanceNumber kept",
    )
    assert len(source.files) == 8


def test_the_lowest_number_counts_and_not_the_name(tmp_path: Path, write_series: Write) -> None:
    folder = with_copy(write_series, tmp_path / "ct", both(other_uid, brighter, setting(InstanceNumber=0)))
    array = read_dicom(folder, FIRST).array[0]
    np.testing.assert_array_equal(array[:, :, 3], STORED[:, :, 3] - 1023)
    np.testing.assert_array_equal(array[:, :, 4], STORED[:, :, 4] - 1024)


# ------------------------------------------------------------------ phases
TOLD = {
    "TemporalPositionIdentifier": ([1, 2, 10], "1, 2, 10"),
    "AcquisitionNumber": ([9, 10, 11], "9, 10, 11"),
    "EchoTime": ([4.6, 9.2, 13.8], "4.6, 9.2, 13.8 ms"),
    "TriggerTime": ([0, 80.5, 700], "0, 80.5, 700 ms"),
    "ContentTime": (["093000.5", "093010", "101500"], "93000.5, 93010, 101500"),
}


def write_phases(write_series: Write, folder: Path, edits: Sequence[Edit]) -> Path:
    """One folder per phase in one series; phase n holds STORED + n. Files and numbers run backwards."""
    for n, edit in enumerate(edits):

        def tell(k: int, dataset: Any, n: int = n, edit: Edit = edit) -> None:
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.7.{n}.{k}"
            dataset.InstanceNumber = 1000 - 8 * n - k
            edit(k, dataset)

        write_series(folder / "cba"[n], STORED + np.int16(n), edit=tell)
    return folder


@pytest.mark.parametrize("keyword", TOLD)
def test_phases_are_told_apart_by_their_tag_in_its_order(
    tmp_path: Path, write_series: Write, keyword: str
) -> None:
    values, shown = TOLD[keyword]
    folder = write_phases(write_series, tmp_path / "ct", [setting(**{keyword: value}) for value in values])
    (candidate,) = describe_dicom(folder)
    assert candidate.verdict == "several phases"
    assert f"3 phases told apart by {keyword} {shown}; --phase N reads one of them" in candidate.detail
    assert f"told apart by {keyword} {shown}" in refusal(folder, Policy())
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
        setting(AcquisitionNumber=1, EchoTime=5),
        setting(AcquisitionNumber=1, EchoTime=10),
        setting(AcquisitionNumber=2, EchoTime=5),
    ]
    folder = write_phases(write_series, tmp_path / "mr", edits)
    source = source_of(read_dicom(folder, Policy(phase=2)))
    assert source.decided == ("several phases: phase 2 of 3 read, AcquisitionNumber 1 and EchoTime 10 ms",)


def test_without_a_tag_the_number_tells_and_the_note_says_so(tmp_path: Path, write_series: Write) -> None:
    folder = write_phases(write_series, tmp_path / "ct", [setting(), setting()])
    assert "2 phases that no tag tells apart" in refusal(folder, Policy())
    volume = read_dicom(folder, Policy(phase=1))  # numbers run backwards: the second one written
    np.testing.assert_array_equal(volume.array[0], STORED + 1 - 1024)
    assert source_of(volume).decided == (
        "several phases: phase 1 of 2 read, image 1 by InstanceNumber at each position",
    )


def test_phases_that_nothing_tells_apart_stay_refused(tmp_path: Path, write_series: Write) -> None:
    folder = write_phases(write_series, tmp_path / "ct", [setting(InstanceNumber=1)] * 2)
    for policy in (Policy(), Policy(phase=1)):
        assert "nothing tells apart" in refusal(folder, policy)


def test_phases_may_cover_different_heights(tmp_path: Path, write_series: Write) -> None:
    edits = [setting(AcquisitionNumber=1), setting(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for k in (6, 7):
        (folder / "c" / f"IM{k:04d}.dcm").unlink()
    assert "2 phases told apart by AcquisitionNumber 1, 2" in describe_dicom(folder)[0].detail
    assert read_dicom(folder, Policy(phase=1)).grid.shape == (12, 10, 6)
    assert read_dicom(folder, Policy(phase=2)).grid.shape == (12, 10, 8)


def test_a_stray_image_is_no_phase(tmp_path: Path, write_series: Write) -> None:
    edits = [setting(AcquisitionNumber=1), setting(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for k in range(1, 8):
        (folder / "b" / f"IM{k:04d}.dcm").unlink()
    assert describe_dicom(folder)[0].verdict == "duplicate positions"
    assert "lie at the same position" in refusal(folder, Policy(phase=1))


def test_the_first_of_each_never_mixes_phases(tmp_path: Path, write_series: Write) -> None:
    def mixed(n: int) -> Edit:
        return lambda k, dataset: (
            (
                setattr(dataset, "EchoTime", n),
                setattr(dataset, "InstanceNumber", 2 * k + (k + n) % 2),
            )
            and None
        )

    folder = write_phases(write_series, tmp_path / "mr", [mixed(1), mixed(2)])
    assert "--duplicates first would mix them" in refusal(folder, FIRST)
    np.testing.assert_array_equal(read_dicom(folder, Policy(phase=2)).array[0], STORED + 1 - 1024)


@pytest.mark.parametrize("phase", [2, 7])
def test_a_phase_of_a_series_that_has_one(tmp_path: Path, write_series: Write, phase: int) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    assert f"there is no phase {phase}: the series has one phase" in refusal(folder, Policy(phase=phase))


def test_a_phase_is_checked_like_a_series(tmp_path: Path, write_series: Write) -> None:
    edits = [setting(AcquisitionNumber=1), setting(AcquisitionNumber=2)]
    folder = write_phases(write_series, tmp_path / "ct", edits)
    for phase in "cb":
        (folder / phase / "IM0003.dcm").unlink()
    assert "1 slice is probably missing" in refusal(folder, Policy(phase=2))
    source = source_of(read_dicom(folder, Policy(phase=2, gaps="resample")))
    assert source.verdict == "several phases, missing slice"
    assert len(source.decided) == 2


# ------------------------------------------------------------------ gaps
def test_missing_slices_are_filled_in_and_the_others_are_copied(tmp_path: Path, write_series: Write) -> None:
    stored = (STORED[:, :, :1] + 100 * np.arange(16)).astype(np.int16)  # linear along the normal
    stored[0, 0, ::2] += 1  # and one corner that needs rounding
    folder = write_series(tmp_path / "ct", stored)
    missing = (3, 7, 8)
    for k in missing:
        (folder / f"IM{k:04d}.dcm").unlink()
    volume = read_dicom(folder, RESAMPLE)
    assert volume.array.dtype == np.int16
    assert volume.grid.shape == (12, 10, 16)
    assert volume.grid.spacing == pytest.approx(SPACING)
    np.testing.assert_array_equal(volume.array[0, 1:], stored[1:] - 1024)
    kept = [k for k in range(16) if k not in missing]
    np.testing.assert_array_equal(volume.array[0][:, :, kept], stored[:, :, kept] - 1024)
    source = source_of(volume)
    assert source.verdict == "missing slice"
    assert source.decided == (
        "missing slice: 13 slices resampled onto 16, 2.500 mm apart; 3 of them interpolated, "
        "the widest gap 7.50 mm",
    )
    assert isinstance(source.native, Planes)
    assert len(source.native.affines) == len(source.headers) == len(source.files) == 13
    assert [grid.affine[2, 3] for grid in source.native.grids()] == pytest.approx(
        [40 + 2.5 * k for k in kept]
    )
    # half the way to both neighbours
    thickness = [grid.spacing[2] for grid in source.native.grids()]
    assert thickness[:5] == pytest.approx([2.5, 2.5, 3.75, 3.75, 2.5])
    assert sum(thickness) == pytest.approx(16 * 2.5)


def test_uneven_slices_go_onto_an_even_grid_at_their_true_places(tmp_path: Path, write_series: Write) -> None:
    z = np.array([0, 2, 4, 6, 9, 11, 13.5, 16])
    values = (10 * z).astype(np.int16)  # linear in z: interpolation has a closed form
    stored = np.broadcast_to(values, (12, 10, 8)).astype(np.int16)
    folder = write_series(tmp_path / "ct", stored, edit=at(heights(z)))
    volume = read_dicom(folder, RESAMPLE)
    assert volume.grid.spacing == pytest.approx((0.7, 0.9, 2.0))
    np.testing.assert_allclose(volume.grid.affine[:3, 3], (30, 20, 40))
    np.testing.assert_array_equal(volume.array[0, 4, 4], np.arange(9) * 20 - 1024)
    source = source_of(volume)
    assert source.verdict == "uneven spacing"
    assert "8 slices resampled onto 9, 2.000 mm apart; 4 of them interpolated" in source.decided[0]


def test_the_ends_of_an_uneven_stack_lie_on_the_grid(tmp_path: Path, write_series: Write) -> None:
    z = np.array([0, 2, 4, 6.3, 8.3, 10.3, 12.3, 14.7])
    grid = read_dicom(write_series(tmp_path / "ct", STORED, edit=at(heights(z))), RESAMPLE).grid
    assert grid.spacing[2] == pytest.approx(14.7 / 7)
    np.testing.assert_allclose(grid.to_world([0, 0, 7])[2], 54.7)


def test_float_values_stay_float(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "pet", STORED, edit=setting(RescaleSlope=0.5, Modality="PT"))
    (folder / "IM0003.dcm").unlink()
    volume = read_dicom(folder, RESAMPLE)
    assert volume.array.dtype == np.float32
    between = (STORED[:, :, 2] + STORED[:, :, 4]) / 4.0 - 1024
    np.testing.assert_allclose(volume.array[0][:, :, 3], between, rtol=1e-6)


def test_allowed_gaps_say_how_far_a_slice_is_off(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    (folder / "IM0001.dcm").unlink()
    volume = read_dicom(folder, Policy(gaps="allow"))
    assert volume.grid.shape == (12, 10, 7)
    assert volume.grid.spacing[2] == pytest.approx(17.5 / 6)
    np.testing.assert_array_equal(volume.array[0], np.delete(STORED, 1, axis=2) - 1024)
    source = source_of(volume)
    assert source.native == volume.grid
    # the second slice lies at 5 mm, evenly at 2.917 mm
    assert source.decided == (
        "missing slice: slices taken as 2.917 mm apart; a slice lies up to 2.08 mm from there",
    )


@pytest.mark.parametrize(
    ("z", "words"),
    [
        ([0, 2, 4, 6, 14, 24, 26, 28], None),
        ([0, 2, 4, 6, 24, 26, 28, 30], "the widest gap, 18.00 mm, is more than half of the 30.00 mm"),
        ([0, 1, 2, 3, 4, 16, 28.5, 41], "8 slices would become 42"),
    ],
    ids=["wide", "half", "many"],
)
def test_gaps_beyond_reason_are_not_filled_in(
    tmp_path: Path, write_series: Write, z: list[float], words: str | None
) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=at(heights(z)))
    if words is None:
        assert read_dicom(folder, RESAMPLE).grid.shape[2] == 15
    else:
        assert words in refusal(folder, RESAMPLE)


def cross_sections_agree(
    labels: NDArray[Any], places: Sequence[Sequence[float]], centre: Sequence[float], off: float
) -> bool:
    """Whether each slice has the ball's cross-section at its place, give or take `off` mm along the normal."""
    up, down = ([place + np.array([0, 0, by]) for place in places] for by in (off, -off))
    three = [ball_at(each, centre) for each in (places, up, down)]
    always, ever = np.logical_and.reduce(three), np.logical_or.reduce(three)
    return bool(np.all(labels[always]) and not np.any(labels[~ever]))


def test_results_go_back_onto_the_original_slices_beside_gaps(tmp_path: Path, write_series: Write) -> None:
    places = heights([2.5 * k for k in range(24) if k not in (6, 12, 13)])
    centre = middle(places)
    folder = write_ball(write_series, tmp_path / "ct", places, centre)
    volume = read_dicom(folder, RESAMPLE)
    ball = ball_of(volume)
    assert ml(ball.mask("ball"), volume.grid) == pytest.approx(BALL_ML, rel=0.03)  # 3 slices are made up
    source = source_of(volume)
    labels = source.on_slices(ball)
    np.testing.assert_array_equal(labels[0].astype(bool), ball_at(places, centre))
    with pytest.raises(GeometryError, match="on_slices"):
        source.put_back(ball)
    # taken as evenly spaced, the same ball would be elsewhere
    even = read_dicom(folder, Policy(gaps="allow"))
    true_ball = ball_of(even).grid.to_index(np.array([-1, -1, 1]) * centre)
    found = np.argwhere(ball_of(even).mask("ball")).mean(axis=0)
    assert ml(ball_of(even).mask("ball"), even.grid) == pytest.approx(BALL_ML, rel=0.2)
    assert np.abs(found - true_ball)[2] * 2.875 < 5
    wrong = even.grid.affine[2, 3] + even.grid.affine[2, 2] * np.arange(21)
    expected = ball_at([(*place[:2], z) for place, z in zip(places, wrong, strict=True)], centre)
    assert not np.array_equal(source_of(even).on_slices(ball_of(even))[0].astype(bool), expected)


def test_results_go_back_onto_unevenly_spaced_slices(tmp_path: Path, write_series: Write) -> None:
    z = np.concatenate([np.arange(0, 16, 2), np.arange(16, 40, 5), np.arange(41, 57, 2)])
    places = heights(z)
    centre = middle(places)
    folder = write_ball(write_series, tmp_path / "ct", places, centre)
    volume = read_dicom(folder, RESAMPLE)
    # what a perfect segmenter finds on the even grid
    grid_places = [volume.grid.to_world([0, 0, k]) * (-1, -1, 1) for k in range(volume.grid.shape[2])]
    perfect = Segmentation(
        ball_at(grid_places, centre).astype(np.uint8)[None], volume.grid, LabelTable((Label(1, "ball"),))
    )
    assert ml(perfect.mask("ball"), volume.grid) == pytest.approx(BALL_ML, rel=0.01)
    half = volume.grid.spacing[2] / 2 + 1e-6
    labels = source_of(volume).on_slices(perfect)[0]
    assert labels.shape == (COLUMNS, ROWS, len(z))
    assert cross_sections_agree(labels, places, centre, half)
    # negative control: the same labels, as if slices were evenly spaced
    mean = heights(np.linspace(z[0], z[-1], len(z)))
    assert not cross_sections_agree(labels, mean, centre, half)
    wrong = Source(native=read_dicom(folder, Policy(gaps="allow")).grid, format="DICOM series")
    assert not cross_sections_agree(wrong.on_slices(perfect)[0], places, centre, half)


# ------------------------------------------------------------------ tilt
@pytest.mark.parametrize("degrees", [15.0, -22.5])
def test_a_tilted_ball_is_a_ball_upright_and_back_on_its_slices(
    tmp_path: Path, write_series: Write, degrees: float
) -> None:
    places = leaning(degrees, 20)
    centre = middle(places)
    volume = read_dicom(write_ball(write_series, tmp_path / "ct", places, centre), UPRIGHT)
    ball, source = ball_of(volume), source_of(volume)
    assert volume.array.dtype == np.int16
    directions = volume.grid.affine[:3, :3] / volume.grid.spacing
    np.testing.assert_allclose(directions, np.diag([-1, -1, 1]), atol=1e-9)
    assert volume.grid.spacing == pytest.approx(SPACING)
    assert volume.grid.shape[0] == COLUMNS
    more = int(np.ceil(19 * 2.5 * abs(np.tan(np.radians(degrees))) / 0.9))
    assert volume.grid.shape[1:] == (ROWS + more, 20)
    assert ml(ball.mask("ball"), volume.grid) == pytest.approx(BALL_ML, rel=0.02)
    assert volume.array.min() == -1024  # air where no slice reaches
    assert source.verdict == "gantry tilt"
    furthest = 19 * 2.5 * abs(np.tan(np.radians(degrees)))
    assert source.decided == (
        f"gantry tilt: {abs(degrees):.1f} degrees, slices up to {furthest:.2f} mm aside, resampled onto upright boxes",
    )

    assert isinstance(source.native, Grid)
    back = source.put_back(ball)
    mask = back.mask("ball")
    assert back.grid.shape == (COLUMNS, ROWS, 20)
    shear = np.column_stack([(-0.7, 0, 0), (0, -0.9, 0), (places[1] - places[0]) * (-1, -1, 1)])
    np.testing.assert_allclose(back.grid.affine[:3, :3], shear, atol=1e-6)
    assert back.grid.voxel_ml == pytest.approx(abs(np.linalg.det(shear)) / 1000)
    assert ml(mask, back.grid) == pytest.approx(BALL_ML, rel=0.02)
    centroid = back.grid.to_world(np.argwhere(mask).mean(axis=0))
    assert np.all(np.abs(centroid - centre * (-1, -1, 1)) < 0.5 * np.array(SPACING))
    assert np.mean(mask ^ ball_at(places, centre)) < 0.01  # only at the rim
    np.testing.assert_array_equal(source.on_slices(ball), back.array)


def test_tilt_moves_pixels_by_their_place_and_changes_nothing_else(
    tmp_path: Path, write_series: Write
) -> None:
    # 0.9 mm a slice: exactly one row, so that every value is a copy
    places = [PLACE + (0, 0.9 * k, 2.5 * k) for k in range(8)]
    volume = read_dicom(write_series(tmp_path / "ct", STORED, edit=at(places)), UPRIGHT)
    expected = np.full((12, 17, 8), -1024, np.int16)
    for k in range(8):
        expected[:, k : k + 10, k] = STORED[:, :, k] - 1024
    np.testing.assert_array_equal(volume.array[0], expected)
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 0]), (30, 20, 40))


def test_tilt_along_rows_is_undone_too(tmp_path: Path, write_series: Write) -> None:
    places = [PLACE + (-0.35 * k, 0, 2.5 * k) for k in range(8)]
    stored = np.full((12, 10, 8), 100, np.int16)
    edit = both(at(places), setting(Modality="MR", RescaleIntercept=0))
    volume = read_dicom(write_series(tmp_path / "mr", stored, edit=edit), UPRIGHT)
    assert volume.grid.shape == (16, 10, 8)  # 7 x 0.35 mm are 3.5 columns
    assert volume.array.min() == volume.array.max() == 100  # outside CT: the smallest value there is


def test_gaps_and_tilt_together(tmp_path: Path, write_series: Write) -> None:
    places = [place for k, place in enumerate(leaning(15, 24)) if k not in (5, 13, 14)]
    centre = middle(places)
    folder = write_ball(write_series, tmp_path / "ct", places, centre)
    assert "--gaps resample" in refusal(folder, UPRIGHT)
    assert "--tilt resample" in refusal(folder, RESAMPLE)
    volume = read_dicom(folder, BOTH)
    assert volume.grid.shape[2] == 24
    assert volume.grid.spacing == pytest.approx(SPACING)
    ball, source = ball_of(volume), source_of(volume)
    assert ml(ball.mask("ball"), volume.grid) == pytest.approx(BALL_ML, rel=0.03)
    assert source.verdict == "missing slice, gantry tilt"
    assert len(source.decided) == 2
    assert isinstance(source.native, Planes)
    for plane, place in zip(source.native.grids(), places, strict=True):
        np.testing.assert_allclose(plane.affine[:3, 3], place * (-1, -1, 1), atol=1e-6)
        np.testing.assert_allclose(plane.affine[:2, 2], 0, atol=1e-9)  # along the normal
    labels = source.on_slices(ball)[0].astype(bool)
    assert np.mean(labels ^ ball_at(places, centre)) < 0.01
    thick = np.array([plane.voxel_ml for plane in source.native.grids()])
    assert float((labels.sum(axis=(0, 1)) * thick).sum()) == pytest.approx(BALL_ML, rel=0.03)


def test_allowed_gaps_and_tilt_together(tmp_path: Path, write_series: Write) -> None:
    places = [place for k, place in enumerate(leaning(15, 9)) if k != 4]
    folder = write_series(tmp_path / "ct", STORED, edit=at(places))
    volume = read_dicom(folder, Policy(gaps="allow", tilt="resample"))
    assert volume.grid.shape[2] == 8
    assert volume.grid.spacing[2] == pytest.approx(20 / 7)
    native = source_of(volume).native
    assert isinstance(native, Grid)
    np.testing.assert_allclose(native.to_world([0, 0, 7]), places[-1] * (-1, -1, 1), atol=1e-6)


def test_an_oblique_tilted_stack(tmp_path: Path, write_series: Write) -> None:
    angle = np.radians(30)
    row, column = np.array([1, 0, 0]), np.array([0, np.cos(angle), np.sin(angle)])
    normal = np.cross(row, column)
    step = 2.5 * normal + 1.8 * column  # two rows a slice
    folder = write_series(tmp_path / "ct", STORED, orientation=(*row, *column), step=step)
    volume = read_dicom(folder, UPRIGHT)
    assert volume.grid.shape == (12, 24, 8)
    np.testing.assert_allclose(volume.grid.affine[:3, 2], 2.5 * normal * (-1, -1, 1), atol=1e-6)
    for k in range(8):
        np.testing.assert_array_equal(volume.array[0][:, 2 * k : 2 * k + 10, k], STORED[:, :, k] - 1024)


# ------------------------------------------------------------------ the patient
def test_decisions_name_no_patient(
    tmp_path: Path, write_series: Write, canaries: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = write_phases(
        write_series, tmp_path / "ct", [setting(AcquisitionNumber=1), setting(AcquisitionNumber=2)]
    )
    told = [repr(source_of(read_dicom(folder, Policy(phase=1)))), refusal(folder, Policy()), caplog.text]
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
