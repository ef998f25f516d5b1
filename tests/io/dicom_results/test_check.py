"""Anyone's segmentation, sound or with one fault: each is found, and named in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_edits import at, heights
from dicom_series import write_dicom_series
from seg_results import finished

from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.errors import InputError
from medseg.io import Policy, read
from medseg.io.dicom_results.check import Checked, check_segmentation
from medseg.prediction import Result

Fault = Callable[[Any], None]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("series")
    volume = read(write_dicom_series(folder / "ct", np.full((20, 16, 6), 1024, np.uint16)))
    noise = np.random.default_rng(0).choice(np.array([0, 1, 2, 5], np.uint8), volume.grid.shape)
    return finished(volume, noise)


def checked(result: Result, folder: Path, kind: str, fault: Fault | None = None) -> Checked:
    writer = DicomSeg.model_validate({"type": kind, "compression": "none"})
    (path,) = writer(result, folder)
    if fault is not None:
        dataset = pydicom.dcmread(path)
        fault(dataset)
        dataset.save_as(path)
    return check_segmentation(path, result.volume)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_a_sound_file_has_its_volumes_and_no_finding(tmp_path: Path, result: Result, kind: str) -> None:
    found = checked(result, tmp_path, kind)
    assert found.findings == ()
    assert (found.sound, found.kind) == (True, kind.upper())
    for segment, label in zip(found.segments, result.segmentation.labels, strict=True):
        mask = result.segmentation.mask(label.name)
        assert (segment.name, segment.voxels, segment.slices) == (label.name, int(mask.sum()), 6)
        assert segment.volume_ml == pytest.approx(mask.sum() * 0.7 * 0.9 * 2.5 / 1000)
    assert found.as_json()["segments"][0]["code"] == "SCT:10200004"


def test_uneven_slices_have_no_volume(tmp_path: Path) -> None:
    uneven = at(heights([0, 2.5, 5, 7.5, 10.8, 13.3]))
    folder = write_dicom_series(tmp_path / "ct", np.full((20, 16, 6), 1024, np.uint16), edit=uneven)
    volume = read(folder, policy=Policy(gaps="resample"))
    noise = np.random.default_rng(0).choice(np.array([1, 2, 5], np.uint8), volume.grid.shape)
    found = checked(finished(volume, noise), tmp_path, "binary")
    assert found.findings == ()
    assert [segment.volume_ml for segment in found.segments] == [None] * 3


def moved(dataset: Any) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [place.ImagePositionPatient[0] + 3, *place.ImagePositionPatient[1:]]


def flipped(dataset: Any) -> None:
    """The classical fault: slices in the other order under the same references."""
    places = [
        f.PlanePositionSequence[0].ImagePositionPatient for f in dataset.PerFrameFunctionalGroupsSequence
    ]
    for frame, place in zip(dataset.PerFrameFunctionalGroupsSequence, places[::-1], strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = place


def twice(dataset: Any) -> None:
    first, second = dataset.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence[0].ImagePositionPatient = first.PlanePositionSequence[0].ImagePositionPatient


def put(keyword: str, value: Any) -> Fault:
    def change(dataset: Any) -> None:
        setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> Fault:
    return lambda dataset: delattr(dataset, keyword)


def uncoded(dataset: Any) -> None:
    del dataset.SegmentSequence[1].SegmentedPropertyCategoryCodeSequence


def unreferred(dataset: Any) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence = []


def renumbered(dataset: Any) -> None:
    dataset.SegmentSequence[-1].SegmentNumber = 9


def colourless(dataset: Any) -> None:
    del dataset.SegmentSequence[-1].RecommendedDisplayCIELabValue
    del dataset.SegmentSequence[-1].TrackingUID


ERRORS: dict[str, tuple[Fault, str, str]] = {
    "moved": (moved, "both", "frames lie on no slice of the image"),
    "flipped": (flipped, "labelmap", "lie on another slice than the image that they name"),
    "twice": (twice, "both", "lie at one place"),
    "study": (put("StudyInstanceUID", "1.2.4"), "both", "another study"),
    "place": (put("FrameOfReferenceUID", "1.2.4"), "both", "another frame of reference"),
    "no place": (without("FrameOfReferenceUID"), "both", "no FrameOfReferenceUID"),
    "uncoded": (uncoded, "both", "no code for the category of"),
    "numbers": (renumbered, "binary", "segments are not numbered 1 to 3"),
    "stray": (renumbered, "both", "not described"),
}
WARNINGS: dict[str, tuple[Fault, str]] = {
    "series": (without("ReferencedSeriesSequence"), "no ReferencedSeriesSequence"),
    "unreferred": (unreferred, "name no source image"),
    "overlap": (without("SegmentsOverlap"), "SegmentsOverlap is missing"),
    "colour": (colourless, "without a recommended colour"),
    "tracking": (colourless, "without a tracking UID"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_faults_are_errors(tmp_path: Path, result: Result, name: str) -> None:
    fault, kinds, told = ERRORS[name]
    for kind in ("binary", "labelmap") if kinds == "both" else (kinds,):
        (tmp_path / kind).mkdir()
        found = checked(result, tmp_path / kind, kind, fault)
        assert not found.sound
        assert any(told in finding.what for finding in found.findings if finding.rank == "error")


@pytest.mark.parametrize("name", WARNINGS)
def test_what_viewers_miss_is_a_warning(tmp_path: Path, result: Result, name: str) -> None:
    fault, told = WARNINGS[name]
    found = checked(result, tmp_path, "binary", fault)
    assert found.sound
    assert any(told in finding.what for finding in found.findings)


def test_overlap_that_is_denied_is_an_error(tmp_path: Path, result: Result) -> None:
    def overlapping(dataset: Any) -> None:
        dataset.PixelData = b"\xff" * len(dataset.PixelData)

    found = checked(result, tmp_path, "binary", overlapping)
    assert "SegmentsOverlap is NO" in found.findings[0].what


def test_what_cannot_be_decoded_is_refused(tmp_path: Path, result: Result) -> None:
    (path,) = DicomSeg(type="binary")(result, tmp_path)
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(InputError, match="cut off"):
        check_segmentation(path)
    assert result.volume.source is not None
    with pytest.raises(InputError, match="neither a segmentation"):
        check_segmentation(result.volume.source.files[0])


def test_real_segmentations(real_data: Path) -> None:
    folder = real_data / "dicom_seg_dcmqi"
    found = check_segmentation(folder / "liver.dcm", read(folder / "ct-3slice"))
    assert found.sound
    assert [(segment.name, segment.voxels, segment.slices) for segment in found.segments] == [
        ("Liver", 107_098, 3)
    ]
    assert check_segmentation(folder / "partial_overlaps.dcm").sound
