import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_series import write_dicom_series
from seg_results import blobs, finished

from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.io import read

Medseg = Callable[..., Any]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_dicom_series(tmp_path / "ct", np.full((20, 16, 6), 1024, np.uint16))


@pytest.fixture
def file(tmp_path: Path, series: Path) -> Path:
    volume = read(series)
    (path,) = DicomSeg()(finished(volume, blobs(volume.grid.shape)), tmp_path)
    return path


def test_prints_segments_and_that_nothing_is_wrong(medseg: Medseg, file: Path, series: Path) -> None:
    done = medseg("dicom", "check", file, "--source", series)
    assert (done.code, done.err) == (0, "")
    for word in ("liver", "SCT:10200004", "left kidney", "BINARY, ", "nothing wrong found"):
        assert word in done.out


def test_a_fault_is_a_line_and_exit_code_2(medseg: Medseg, file: Path, series: Path) -> None:
    dataset = pydicom.dcmread(file)
    del dataset.FrameOfReferenceUID, dataset.SegmentsOverlap
    dataset.save_as(file)
    done = medseg("dicom", "check", file)
    assert done.code == 2
    assert "error: no FrameOfReferenceUID: nothing says where it lies\n" in done.out
    assert "warning: SegmentsOverlap is missing" in done.out
    told = medseg("dicom", "check", file, "--json")
    found = json.loads(told.out)
    assert (told.code, found["sound"], found["kind"]) == (2, False, "BINARY")
    assert [segment["name"] for segment in found["segments"]] == ["liver", "left kidney", "tumour"]
    assert {finding["rank"] for finding in found["findings"]} == {"error", "warning"}


def test_what_is_no_segmentation_is_refused_in_a_line(medseg: Medseg, series: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.dcm").write_text("Dear colleague")
    for path in (series / "IM0000.dcm", tmp_path / "letter.dcm", tmp_path / "absent.dcm"):
        done = medseg("dicom", "check", path)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("\n") == 1
        assert path.name in done.err
