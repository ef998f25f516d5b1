"""Which images belong to one stack."""

import math
import time
from pathlib import Path
from typing import Any

import pytest

from medseg.io.dicom.group import differences, group
from medseg.io.dicom.header import SliceHeader

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def header(number: int, **values: Any) -> SliceHeader:
    """An axial slice of one CT series, with some tags changed."""
    plain: dict[str, Any] = {
        "patient": "fedcba9876543210",
        "StackID": "1",
        "SeriesInstanceUID": "1.2.3.1",
        "StudyInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.3.9",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Rows": 512,
        "Columns": 512,
        "PixelSpacing": [0.7, 0.7],
        "ImageOrientationPatient": AXIAL,
    }
    return SliceHeader(Path(f"/{number}"), f"{number:06d}", plain | values)


OTHERS: dict[str, dict[str, Any]] = {
    "patient": {"patient": "0123456789abcdef"},
    "stack": {"StackID": "2"},
    "series": {"SeriesInstanceUID": "1.2.3.2"},
    "study": {"StudyInstanceUID": "1.2.4"},
    "size (Rows, Columns)": {"Rows": 256},
    "frame of reference": {"FrameOfReferenceUID": "1.2.3.10"},
    "image type": {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
    "orientation": {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
    "pixel spacing": {"PixelSpacing": [0.7, 0.8]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_images_that_differ_are_two_stacks_and_the_difference_has_a_name(name: str) -> None:
    headers = [header(0), header(1, **OTHERS[name]), header(2), header(3)]
    stacks = group(headers)
    assert [[each.name for each in stack] for stack in stacks] == [["000000", "000002", "000003"], ["000001"]]
    assert differences(stacks) == name


@pytest.mark.parametrize(
    "other",
    [
        ["ORIGINAL", "PRIMARY", "P", "ND"],
        ["ORIGINAL", "PRIMARY", "M", "ND", "DIS2D"],
        ["DERIVED", "PRIMARY", "M", "ND"],
    ],
    ids=["phase", "corrected", "derived"],
)
def test_magnitude_and_phase_of_one_geometry_are_two_volumes(other: list[str]) -> None:
    magnitude = ["ORIGINAL", "PRIMARY", "M", "ND"]
    headers = [header(n, ImageType=other if n % 2 else magnitude) for n in range(6)]
    assert [len(stack) for stack in group(headers)] == [3, 3]


@pytest.mark.parametrize(
    "changed",
    [
        {"ImageType": ["ORIGINAL", "SECONDARY", "AXIAL"]},
        {"ImageType": ["original", "PRIMARY", "Axial "]},
        {"AcquisitionNumber": 2},
        {"EchoTime": 5.0},
        {"TemporalPositionIdentifier": 2},
        {"DiffusionBValue": 1000.0},
        {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.99999, 0.004]},
        {"PixelSpacing": [0.70001, 0.7]},
    ],
)
def test_phases_echoes_and_rounding_stay_in_one_stack(changed: dict[str, Any]) -> None:
    headers = [header(0), header(1, **changed), header(2), header(3, **changed)]
    (stack,) = group(headers)
    assert list(stack) == headers


def test_tags_that_are_missing_are_a_trait_too() -> None:
    headers = [header(0), header(1, ImageOrientationPatient=None), header(2, PixelSpacing=None), header(3)]
    assert [len(stack) for stack in group(headers)] == [2, 1, 1]
    assert group([]) == []


def test_hundred_thousand_images_are_grouped_fast() -> None:
    """Seconds, not hours, though every direction is written in another way; the limit is a loose one."""
    alike = [header(n, ImageOrientationPatient=[*AXIAL[:4], 1 - 1e-9 * n, 0.0]) for n in range(100_000)]
    start = time.process_time()
    assert [len(stack) for stack in group(alike)] == [100_000]
    assert time.process_time() - start < 30


def test_images_that_all_lie_in_different_directions_do_not_take_for_ever() -> None:
    def turned(number: int) -> SliceHeader:
        angle, tilt = 0.02 * (number % 300), 0.02 * (number // 300)
        row = [math.cos(angle), math.sin(angle), 0.0]
        column = [-math.sin(angle) * math.cos(tilt), math.cos(angle) * math.cos(tilt), math.sin(tilt)]
        return header(number, ImageOrientationPatient=row + column)

    assert len(group([turned(number) for number in range(6000)])) == 6000
