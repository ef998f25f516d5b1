"""A file that does not say what was found is never released: controls that must be caught, one fault each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_series import write_dicom_series
from pydicom.pixels.utils import pack_bits  # noqa: TID253
from seg_results import finished

from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.errors import MedsegError
from medseg.io import read
from medseg.io.dicom_results import read_back
from medseg.io.dicom_results.segments import segments_of
from medseg.io.masks.dicom import mask_header
from medseg.prediction import Result
from medseg.segmentation import Label

Fault = Callable[[pydicom.Dataset], None]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("series")
    volume = read(write_dicom_series(folder / "ct", np.full((20, 16, 10), 1024, np.uint16)))
    noise = np.random.default_rng(0).choice(np.array([0, 1, 2, 5], np.uint8), volume.grid.shape)
    return finished(volume, noise)  # no two slices are alike


def one_pixel(dataset: pydicom.Dataset) -> None:
    pixels = bytearray(dataset.PixelData)
    pixels[11] ^= 0x10 if dataset.BitsAllocated == 1 else 0x01
    dataset.PixelData = bytes(pixels)


def another_place(dataset: pydicom.Dataset) -> None:
    first, second = (dataset.PerFrameFunctionalGroupsSequence[n].PlanePositionSequence[0] for n in (0, 1))
    first.ImagePositionPatient, second.ImagePositionPatient = (
        second.ImagePositionPatient,
        first.ImagePositionPatient,
    )


def nowhere(dataset: pydicom.Dataset) -> None:
    place = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient = [-30, -20, 41.2]


def aside(dataset: pydicom.Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [place[0] + 0.7, *place[1:]]


def turned(dataset: pydicom.Dataset) -> None:
    orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def coarser(dataset: pydicom.Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.7, 0.9]


def swapped_names(dataset: pydicom.Dataset) -> None:
    first, second = dataset.SegmentSequence[-2:]
    first.SegmentLabel, second.SegmentLabel = second.SegmentLabel, first.SegmentLabel


def another_frame_of_reference(dataset: pydicom.Dataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3.10"


def another_series(dataset: pydicom.Dataset) -> None:
    dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.10"


def another_study(dataset: pydicom.Dataset) -> None:
    dataset.StudyInstanceUID = "1.2.3.10"


def another_image(dataset: pydicom.Dataset) -> None:
    """Viewers that go by references would show the frame there."""
    first, last = (dataset.PerFrameFunctionalGroupsSequence[n].DerivationImageSequence[0] for n in (0, -1))
    (image,), (other,) = first.SourceImageSequence, last.SourceImageSequence
    image.ReferencedSOPInstanceUID = other.ReferencedSOPInstanceUID


def other_side(dataset: pydicom.Dataset) -> None:
    (kidney,) = (item for item in dataset.SegmentSequence if item.SegmentLabel == "left kidney")
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue = "24028007"


def another_type(dataset: pydicom.Dataset) -> None:
    dataset.SegmentSequence[-1].SegmentedPropertyTypeCodeSequence[0].CodeValue = "10200004"


def another_tracking_uid(dataset: pydicom.Dataset) -> None:
    dataset.SegmentSequence[-1].TrackingUID = "1.2.3.10"


def a_frame_less(dataset: pydicom.Dataset) -> None:
    dataset.NumberOfFrames -= 1
    del dataset.PerFrameFunctionalGroupsSequence[-1]


FAULTS: dict[Fault, str] = {
    one_pixel: "1 voxels differ from the mask",
    another_place: "voxels differ from the mask|share voxels",
    nowhere: "frame 1 lies on no slice of the image",
    aside: "lies on no slice of the image",
    turned: "lies on no slice of the image",
    coarser: "lies on no slice of the image",
    swapped_names: "segment [23] is '.*', not '.*'",
    another_frame_of_reference: "another frame of reference",
    another_series: "does not refer to the image's series",
    another_study: "another study",
    another_image: "names another image than the one that it lies on",
    other_side: "segment 2 has another modifier than 'left kidney'",
    another_type: "segment 3 has another code than 'tumour'",
    another_tracking_uid: "segment 3 has another tracking UID",
    a_frame_less: "differ from the mask",
}


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_is_found(tmp_path: Path, result: Result, kind: str, fault: Fault) -> None:
    writer = DicomSeg.model_validate({"type": kind, "compression": "none"})
    (path,) = writer(result, tmp_path)
    segments = segments_of(result.segmentation)
    read_back.require_equal(path, result, segments)
    dataset = pydicom.dcmread(path)
    fault(dataset)
    dataset.save_as(path)
    if fault is a_frame_less and kind == "labelmap":
        dataset.PixelData = dataset.PixelData[: 20 * 16 * 9]
        dataset.save_as(path)
    with pytest.raises(MedsegError, match=FAULTS[fault]) as caught:
        read_back.require_equal(path, result, segments)
    assert "nothing is released" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_frames_of_one_segment_on_one_slice_are_found(tmp_path: Path, result: Result) -> None:
    (path,) = DicomSeg(type="binary")(result, tmp_path)
    dataset = pydicom.dcmread(path)
    first, second = dataset.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence[0].ImagePositionPatient = first.PlanePositionSequence[0].ImagePositionPatient
    dataset.save_as(path)
    with pytest.raises(MedsegError, match="a frame is there twice"):
        read_back.require_equal(path, result, segments_of(result.segmentation))


def test_a_run_whose_file_was_damaged_releases_nothing(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a faulty library would do."""
    monkeypatch.setattr(
        "highdicom.image.pack_bits", lambda planes, pad: pack_bits(planes[::-1].copy(), pad=pad)
    )
    with pytest.raises(MedsegError, match="voxels differ from the mask"):
        list(DicomSeg(type="binary")(result, tmp_path))


@pytest.mark.parametrize("code", ["LIV", "99ACME:A-CODE-OF-MORE-THAN-16", "99ACME:urn:liver"])
def test_a_label_may_have_any_code(tmp_path: Path, result: Result, code: str) -> None:
    shape = result.volume.grid.shape
    coded = finished(result.volume, np.ones(shape, np.uint8), (Label(1, "liver", code=code),))
    (path,) = DicomSeg()(coded, tmp_path)
    about, _ = mask_header(path)
    assert about["labels"][0]["code"] == (code if ":" in code else f"99MEDSEG:{code}")
