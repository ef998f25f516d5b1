"""Gaps and tilt resampled: where values lie, and where labels go back to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_edits import (
    BOTH,
    RESAMPLE,
    SPACING,
    STORED,
    UPRIGHT,
    Place,
    Write,
    at,
    both,
    every,
    heights,
    leaning,
    place,
    refusal,
    source_of,
)
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.io.dicom import read_dicom
from medseg.io.policy import Policy
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Planes, Source, Volume

RADIUS = 20.0  # mm: 33.51 mL
BALL_ML = 4 / 3 * np.pi * RADIUS**3 / 1000
COLUMNS, ROWS = 72, 60  # 50.4 x 54 mm


def ball_at(places: Sequence[Place], centre: Place) -> NDArray[np.bool_]:
    """Pixel centres `[column, row, slice]` of axial slices that lie within the ball; LPS mm."""
    x, y = 0.7 * np.arange(COLUMNS)[:, None], 0.9 * np.arange(ROWS)[None, :]
    slices = [
        (place[0] + x - centre[0]) ** 2 + (place[1] + y - centre[1]) ** 2 + (place[2] - centre[2]) ** 2
        <= RADIUS**2
        for place in places
    ]
    return np.stack(slices, axis=2)


def middle(places: Sequence[Place]) -> NDArray[np.float64]:
    """The middle of the field of view of a stack, LPS mm."""
    corners = np.array([places[0], places[-1]])
    return np.asarray(corners.mean(axis=0) + np.array([0.7 * (COLUMNS - 1) / 2, 0.9 * (ROWS - 1) / 2, 0]))


def ball_of(volume: Volume) -> Segmentation:
    table = LabelTable((Label(1, "ball"),))
    mask = volume.array > 0  # outside -500 HU, inside 500 HU
    return Segmentation(mask.astype(np.uint8), volume.grid, table)


def write_ball(write_series: Write, folder: Path, places: Sequence[Place], centre: Place) -> Path:
    stored = np.where(ball_at(places, centre), 1524, 524).astype(np.int16)
    return write_series(folder, stored, edit=at(places))


def ml(mask: NDArray[np.bool_], grid: Grid) -> float:
    return float(mask.sum()) * grid.voxel_ml


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
    folder = write_series(tmp_path / "pet", STORED, edit=every(RescaleSlope=0.5, Modality="PT"))
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


def cross_sections_agree(labels: NDArray[Any], places: Sequence[Place], centre: Place, off: float) -> bool:
    """Whether each slice has the ball's cross-section at its place, give or take `off` mm."""
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
    # negative control: the same labels, on slices taken as evenly spaced
    even = source_of(read_dicom(folder, Policy(gaps="allow")))
    assert not np.array_equal(even.on_slices(ball)[0].astype(bool), ball_at(places, centre))


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
        f"gantry tilt: {abs(degrees):.1f} degrees, slices up to {furthest:.2f} mm aside, resampled onto "
        "upright boxes",
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
    places = [place(0, 0.9 * k, 2.5 * k) for k in range(8)]
    volume = read_dicom(write_series(tmp_path / "ct", STORED, edit=at(places)), UPRIGHT)
    expected = np.full((12, 17, 8), -1024, np.int16)
    for k in range(8):
        expected[:, k : k + 10, k] = STORED[:, :, k] - 1024
    np.testing.assert_array_equal(volume.array[0], expected)
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 0]), (30, 20, 40))


def test_tilt_along_rows_is_undone_too(tmp_path: Path, write_series: Write) -> None:
    places = [place(-0.35 * k, 0, 2.5 * k) for k in range(8)]
    stored = np.full((12, 10, 8), 100, np.int16)
    edit = both(at(places), every(Modality="MR", RescaleIntercept=0))
    volume = read_dicom(write_series(tmp_path / "mr", stored, edit=edit), UPRIGHT)
    assert volume.grid.shape == (16, 10, 8)  # 7 x 0.35 mm are 3.5 columns
    assert volume.array.min() == volume.array.max() == 100  # outside CT: the smallest value there is


def test_gaps_and_tilt_together(tmp_path: Path, write_series: Write) -> None:
    places = [here for k, here in enumerate(leaning(15, 24)) if k not in (5, 13, 14)]
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
    for plane, here in zip(source.native.grids(), places, strict=True):
        np.testing.assert_allclose(plane.affine[:3, 3], here * (-1, -1, 1), atol=1e-6)
        np.testing.assert_allclose(plane.affine[:2, 2], 0, atol=1e-9)  # along the normal
    labels = source.on_slices(ball)[0].astype(bool)
    assert np.mean(labels ^ ball_at(places, centre)) < 0.01
    thick = np.array([plane.voxel_ml for plane in source.native.grids()])
    assert float((labels.sum(axis=(0, 1)) * thick).sum()) == pytest.approx(BALL_ML, rel=0.03)


def test_allowed_gaps_and_tilt_together(tmp_path: Path, write_series: Write) -> None:
    places = [here for k, here in enumerate(leaning(15, 9)) if k != 4]
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
