import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from medseg import Grid, Planes, Source, Volume
from medseg.config import SeriesRule
from medseg.io import STRICT, Policy
from medseg.run.provenance import Journal, asked, describe_input, sha256_of

GRID = Grid((4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))


def test_a_step_is_timed_and_heard() -> None:
    heard: list[tuple[str, str, bool]] = []
    journal = Journal(lambda place, name, seconds: heard.append((place, name, seconds is None)))
    with journal.step("segment", "threshold"):
        time.sleep(0.05)
    (step,) = journal.steps
    assert (step["step"], step["component"]) == ("segment", "threshold")
    assert 0.05 <= step["seconds"] < 1
    assert heard == [("segment", "threshold", True), ("segment", "threshold", False)]


def test_peak_memory_is_that_of_the_step_not_of_the_process() -> None:
    """200 MB are taken and given back in the first step; the second must not show them."""
    journal = Journal()
    with journal.step("a", "large"):
        np.ones(25_000_000).sum()
    with journal.step("b", "small"):
        np.ones(1000).sum()
    large, small = (step["peak_memory_mb"] for step in journal.steps)
    assert large - small > 150


def test_a_failing_step_is_not_recorded_as_done() -> None:
    journal = Journal()
    with pytest.raises(ZeroDivisionError), journal.step("a", "b"):
        _ = 1 / 0
    assert journal.steps == []


def test_an_input_is_described_without_its_path() -> None:
    source = Source(
        GRID,
        "DICOM series",
        files=(Path("DOE^JANE/1.dcm"), Path("DOE^JANE/2.dcm")),
        sha256=("a", "b"),
        modality="CT",
    )
    text = describe_input("ct", Volume(np.zeros((1, *GRID.shape), np.int16), GRID, source=source))
    assert "DOE" not in str(text)
    assert text["sha256"] == hashlib.sha256(b"ab").hexdigest()
    assert (text["files"], text["spacing"], text["orientation"]) == (2, [2, 2, 3], "RAS")


def test_an_array_without_a_file_is_hashed_by_its_values() -> None:
    array = np.arange(120, dtype=np.int16).reshape(1, 4, 5, 6)
    assert describe_input("ct", Volume(array, GRID))["sha256"] == hashlib.sha256(array.tobytes()).hexdigest()


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"medseg")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"medseg").hexdigest()


def test_waiting_is_no_time_of_the_case() -> None:
    journal = Journal()
    journal.pause()
    time.sleep(0.1)
    journal.resume()
    journal.resume()
    assert journal.seconds < 0.05


def test_a_policy_is_told_without_what_is_refused_anyway() -> None:
    assert asked(STRICT) == {}
    assert asked(Policy(gaps="resample", phase=2, suv=True)) == {"gaps": "resample", "phase": 2, "suv": True}


def test_what_was_typed_of_a_series_is_told_without_names_and_whole_uids() -> None:
    rule = SeriesRule(uid="1.2.840.113619.2.55.3", description="DOE", modality="CT", image_type=("AXIAL",))
    assert asked(Policy(series=rule)) == {
        "series": {
            "uid": "...9.2.55.3",
            "modality": "CT",
            "description": "as typed, not recorded",
            "image_type": ["AXIAL"],
        }
    }


def test_slices_that_no_grid_can_place_are_told_by_their_positions() -> None:
    affines = np.tile(np.eye(4), (3, 1, 1))
    affines[:, 2, 3] = (0, 2.5, 7.5)
    affines[:, 0, 3] = -30.123456
    source = Source(Planes((4, 5), affines), "DICOM series", sha256=("a",), decided=("gaps resampled: 1",))
    told = describe_input("ct", Volume(np.zeros((1, *GRID.shape), np.int16), GRID, source=source))
    assert told["planes"] == [[-30.1235, 0, 0], [-30.1235, 0, 2.5], [-30.1235, 0, 7.5]]
    assert told["decided"] == ["gaps resampled: 1"]
    even = Source(GRID, "DICOM series", sha256=("a",))
    assert (
        describe_input("ct", Volume(np.zeros((1, *GRID.shape), np.int16), GRID, source=even))["planes"]
        is None
    )
