"""DICOM series: where slices lie, and whether they are one volume."""

from __future__ import annotations

import numpy as np
from bad_inputs.dicom_bytes import (
    Dataset,
    Slices,
    accept,
    altered,
    decimal,
    doubt,
    having,
    image,
    numbered,
    renamed,
    spoiled,
    stored_values,
    uid,
    volume,
    without,
)

__all__: list[str] = []

AX_STEP = (0.0, 0.0, 2.5)
F = "dicom-geometry"


F = "dicom-geometry"


def _shuffled(k: int, ds: Dataset) -> None:
    ds.InstanceNumber = (k * 5) % 12 + 1


def _reversed(tag: str) -> Slices:
    slices, expected = volume(tag)
    return slices[::-1], expected


accept("dcm_axial", F, volume)
accept("dcm_files_reversed", F, _reversed, notes="file names run against position")
accept("dcm_instance_numbers_shuffled", F, altered(_shuffled), notes="position rules, not InstanceNumber")
accept("dcm_sagittal", F, lambda tag: volume(tag, orientation=(0, 1, 0, 0, 0, -1)))
accept("dcm_coronal", F, lambda tag: volume(tag, orientation=(1, 0, 0, 0, 0, -1)))
accept(
    "dcm_oblique_30",
    F,
    lambda tag: volume(tag, orientation=(1, 0, 0, 0, np.cos(np.pi / 6), np.sin(np.pi / 6))),
)
accept(
    "dcm_thickness_differs",
    F,
    lambda tag: volume(tag, thickness=5.0),
    notes="overlapping slices: spacing comes from positions (2.5), not SliceThickness (5)",
)
doubt(
    "dcm_gantry_tilt",
    F,
    lambda tag: (volume(tag, orientation=(1, 0, 0, 0, np.cos(0.26), -np.sin(0.26)), step=AX_STEP)[0], None),
    "tilt|shear|orthogonal|orientation",
    "warn",
    ("reject",),
    notes="15 degrees; silent unsheared output is the failure",
)
doubt(
    "dcm_missing_slice",
    F,
    spoiled(lambda slices: slices.pop(6)),
    "missing|gap|spacing|uniform|slice",
    also_ok=("warn",),
)


def _varying(slices: list[Dataset]) -> None:
    for k in range(6, 12):
        slices[k].ImagePositionPatient[2] = decimal(-30 + 15 + (k - 6 + 0.5) * 5)


def _jitter(k: int, ds: Dataset) -> None:
    ds.ImagePositionPatient[2] = decimal(-30 + 2.5 * k + (-1) ** k * 4e-4)


def _with_localizer(tag: str) -> Slices:
    across = [
        image(tag, 100 + k, numbered(k), (-10 + k, -20, -30), orientation=(0, 1, 0, 0, 0, -1))
        for k in range(2)
    ]
    return volume(tag)[0] + across, None


def _copied(tag: str) -> Slices:
    slices, expected = volume(tag)
    return [*slices, volume(tag)[0][4]], expected


def _same_place(tag: str) -> Slices:
    other = volume(tag)[0][4]
    renamed(other, uid(tag, "dup"))
    other.PixelData = bytes(len(other.PixelData))
    return [*volume(tag)[0], other], None


def _two_series(tag: str) -> Slices:
    second, _ = volume(tag, series="s2")
    for ds in second:
        ds.SeriesNumber = 2
    return volume(tag)[0] + second, None


def _two_phases(tag: str) -> Slices:
    second, _ = volume(tag)
    for k, ds in enumerate(second):
        renamed(ds, uid(tag, "ph2", k))
        ds.AcquisitionNumber, ds.InstanceNumber = 2, 13 + k
        ds.PixelData = (stored_values(ds) + 50).astype("<i2").tobytes()
    return volume(tag)[0] + second, None


doubt(
    "dcm_varying_spacing", F, spoiled(_varying), "spacing|uniform|vary|gap|missing|slice", also_ok=("warn",)
)
accept("dcm_spacing_jitter", F, altered(_jitter), notes="0.4 micrometre jitter is rounding, not a gap")
doubt(
    "dcm_localizer_in_series",
    F,
    _with_localizer,
    "orientation|localizer|mixed|inconsistent",
    also_ok=("warn",),
)
doubt(
    "dcm_duplicate_identical",
    F,
    _copied,
    "duplicate|repeated|twice|same",
    "warn",
    ("accept", "reject"),
    notes="same object twice: 12 slices",
)
doubt(
    "dcm_duplicate_position",
    F,
    _same_place,
    "duplicate|same position|overlap|ambig",
    notes="two different images at one position",
)
doubt(
    "dcm_two_series",
    F,
    _two_series,
    "series|more than one|multiple|2",
    also_ok=("warn",),
    notes="must list the series, not pick one in silence",
)
doubt(
    "dcm_two_phases_one_uid",
    F,
    _two_phases,
    "phase|duplicate|same position|acquisition|temporal|multiple",
    also_ok=("warn",),
)
doubt("dcm_no_pixel_spacing", F, without("PixelSpacing"), "pixel ?spacing|spacing")
doubt("dcm_no_position", F, without("ImagePositionPatient"), "position")
doubt("dcm_no_orientation", F, without("ImageOrientationPatient"), "orientation")
doubt("dcm_zero_pixel_spacing", F, having("PixelSpacing", ["0", "0"]), "spacing")
doubt("dcm_orientation_zero", F, having("ImageOrientationPatient", ["0"] * 6), "orientation")
