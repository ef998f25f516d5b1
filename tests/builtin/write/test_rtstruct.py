"""RTSTRUCT: filled by another program, and read by our own reader, it is the mask that it was made of."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_frames import write_enhanced
from dicom_series import write_dicom_series
from dicom_validators import dcentvfy, dciodvfy, dciodvfy_beyond
from matplotlib.path import Path as Outline  # noqa: TID253 - a test module
from numpy.typing import NDArray

from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.builtin.write.rtstruct import RTStruct
from medseg.io import Policy, read
from medseg.io.masks import read_segmentation
from medseg.prediction import Measured, Prediction, Result
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Volume

SIZE = (28, 24, 7)
LIVER = Label(1, "liver", code="SCT:10200004", colour="#dd8265")
KIDNEY = Label(2, "left kidney")
LESION = Label(5, "liver tumour")
TURNED = (0.9396926208, 0.3420201433, 0.0, -0.2961981327, 0.8137976814, 0.5)  # by 20 and 30 degrees
MODEL = {"name": "abdomen", "version": "1.2"}


def series(folder: Path, edit: Callable[[int, Any], None] | None = None, **more: Any) -> Path:
    return write_dicom_series(folder, np.zeros(SIZE, np.int16), edit=edit, **more)


def result(volume: Volume, segmentation: Segmentation, measured: Sequence[Measured] = ()) -> Result:
    return Result(
        case_id="case-01",
        volume=volume,
        prediction=Prediction(segmentation=segmentation),
        segmentation=segmentation,
        measurements=tuple(measured),
        provenance={"model": MODEL},
    )


def written(folder: Path, volume: Volume, segmentation: Segmentation, *measured: Measured) -> Path:
    folder.mkdir(exist_ok=True)
    made = RTStruct()(result(volume, segmentation, measured), folder)
    (path,) = RTStruct.check(made, folder=folder)
    assert path.name == "rtstruct.dcm"
    return path


def painted(grid: Grid, labels: tuple[Label, ...] = (LIVER, KIDNEY, LESION)) -> Segmentation:
    """A liver with holes, a kidney of one slice at the border, and a tumour of a single voxel."""
    i, j, k = np.indices(grid.shape)
    noise = np.random.default_rng(4).random(grid.shape)
    liver = (i - 14) ** 2 + (j - 11) ** 2 + 9 * (k - 3) ** 2 < 9**2
    array = np.where(liver & (noise < 0.95), 1, 0).astype(np.uint8)
    array[:5, 20:24, 3] = 2
    array[23, 5, 6] = 5
    return Segmentation(array[None], grid, LabelTable(labels))


def flat(path: Path, images: Path) -> Iterator[tuple[int, str, list[NDArray[Any]]]]:
    """Regions by number, with the contours on each image by its UID, in columns and rows of its pixels."""
    headers = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, images.iterdir())}
    for region in pydicom.dcmread(path).ROIContourSequence:
        found: dict[str, list[NDArray[Any]]] = {}
        for contour in region.get("ContourSequence", ()):
            image = headers[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            across, down = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
            away = np.array(contour.ContourData, float).reshape(-1, 3) - image.ImagePositionPatient
            assert np.abs(away @ np.cross(across, down)).max() < 1e-3
            where = np.column_stack(
                [away @ across / image.PixelSpacing[1], away @ down / image.PixelSpacing[0]]
            )
            found.setdefault(image.SOPInstanceUID, []).append(where)
        for uid, contours in found.items():
            yield int(region.ReferencedROINumber), uid, contours


def painted_by_matplotlib(path: Path, images: Path) -> dict[str, NDArray[np.uint8]]:
    """What the contours hold by image, filled by a program that shares nothing with ours."""
    centres = np.argwhere(np.ones(SIZE[:2], bool))
    found: dict[str, NDArray[np.uint8]] = {}
    for number, uid, contours in flat(path, images):
        inside = np.zeros(len(centres), bool)
        for points in contours:
            inside ^= Outline(points).contains_points(centres)
        found.setdefault(uid, np.zeros(SIZE[:2], np.uint8))[inside.reshape(SIZE[:2])] = number
    return found


def enclosed(contours: list[NDArray[Any]]) -> float:
    """Area in pixels; a contour within an odd number of others is a hole."""
    total = 0.0
    for n, one in enumerate(contours):
        x, y = one.T
        area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        edge = (one[0] + one[1]) / 2  # on no other contour: they share corners only
        depth = sum(Outline(other).contains_point(edge) for m, other in enumerate(contours) if m != n)
        total += -area if depth % 2 else area
    return float(total)


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("series") / "ct")


@pytest.fixture(scope="module")
def image(ct: Path) -> Volume:
    return read(ct)


def uneven(k: int, dataset: Any) -> None:
    place = list(dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [place[0], place[1], f"{40 + 2.5 * k + (1.75 if k > 4 else 0):g}"]


SERIES: dict[str, tuple[dict[str, Any], Policy]] = {
    "straight": ({}, Policy()),
    "oblique": ({"orientation": TURNED}, Policy()),
    "tilted": ({"step": (0.0, 0.7, 2.4)}, Policy(tilt="resample")),
    "uneven": ({"edit": uneven}, Policy(gaps="resample")),
    "moved": ({"edit": uneven}, Policy(gaps="allow")),
}


@pytest.mark.parametrize(("how", "policy"), SERIES.values(), ids=SERIES)
def test_contours_hold_the_mask_on_the_slices_themselves(
    how: dict[str, Any], policy: Policy, tmp_path: Path
) -> None:
    folder = series(tmp_path / "ct", **how)
    volume = read(folder, policy=policy)
    segmentation = painted(volume.grid)
    path = written(tmp_path / "out", volume, segmentation)
    source = volume.source
    assert source is not None
    expected = source.on_slices(segmentation)[0]
    found = painted_by_matplotlib(path, folder)
    assert expected.any()
    for k, header in enumerate(source.headers):
        there = found.get(header["SOPInstanceUID"], np.zeros(SIZE[:2], np.uint8))
        assert np.array_equal(there, expected[..., k]), k


@pytest.mark.parametrize("which", ["straight", "oblique", "moved"])
def test_our_reader_has_the_mask_back(which: str, tmp_path: Path) -> None:
    how, policy = SERIES[which]
    volume = read(series(tmp_path / "ct", **how), policy=policy)
    segmentation = painted(volume.grid)
    told: list[str] = []
    path = written(tmp_path / "out", volume, segmentation)
    back = read_segmentation(path, onto=volume, tell=told.append)
    assert not any("cut off" in line for line in told)  # the kidney ends at the image's border
    assert [(label.value, label.name) for label in back.labels] == [
        (label.value, label.name) for label in segmentation.labels
    ]
    assert np.array_equal(back.array, segmentation.array)


def test_a_real_series_and_its_liver(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "dicom_seg_dcmqi"
    volume = read(folder / "ct-3slice")
    segmentation = read_segmentation(folder / "liver.dcm", onto=volume)
    (liver,) = segmentation.labels
    path = written(tmp_path, volume, segmentation)
    back = read_segmentation(path, onto=volume)
    assert np.array_equal(back.mask(liver.name), segmentation.mask(liver.name))
    images = sorted((folder / "ct-3slice").glob("*.dcm"))
    assert dciodvfy_beyond(path, images[0]) == []
    assert dcentvfy([path, *images]) == []
    areas = [enclosed(contours) for _, _, contours in flat(path, folder / "ct-3slice")]
    assert sum(areas) == pytest.approx(segmentation.mask(liver.name).sum(), rel=1e-3)


def test_the_area_of_contours_is_that_of_the_voxels(ct: Path, image: Volume, tmp_path: Path) -> None:
    segmentation = painted(image.grid)
    path = written(tmp_path, image, segmentation)
    found: dict[int, float] = {}
    for number, _, contours in flat(path, ct):
        found[number] = found.get(number, 0.0) + enclosed(contours)
    counts = np.bincount(segmentation.array.reshape(-1))
    assert found == {number: pytest.approx(counts[number], rel=1e-3) for number in (1, 2, 5)}


def test_dciodvfy_finds_no_error(ct: Path, image: Volume, tmp_path: Path) -> None:
    measured = Measured(label="liver", quantity="volume", value=1234 / 3, unit="mL")
    path = written(tmp_path, image, painted(image.grid), measured)
    assert dciodvfy(path) == []
    assert dcentvfy([path, *ct.iterdir()]) == []


def test_what_stands_in_it(ct: Path, image: Volume, tmp_path: Path) -> None:
    measured = Measured(label="liver", quantity="volume", value=1234 / 3, unit="mL")
    stored = pydicom.dcmread(written(tmp_path, image, painted(image.grid), measured))
    first = pydicom.dcmread(ct / "IM0000.dcm")
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert stored[keyword].value == first[keyword].value
    assert (stored.Modality, stored.SeriesNumber, stored.ApprovalStatus) == ("RTSTRUCT", 902, "UNAPPROVED")
    assert stored.SeriesDescription == "medseg abdomen - RESEARCH ONLY"
    assert "RESEARCH" in stored.StructureSetLabel
    assert stored.StructureSetDate == stored.SeriesDate
    assert "ContentDate" not in stored  # dciodvfy warns of what an object has no place for
    frame = stored.ReferencedFrameOfReferenceSequence[0]
    (whole,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert whole.SeriesInstanceUID == first.SeriesInstanceUID
    assert len(whole.ContourImageSequence) == SIZE[2]
    names = [(item.ROINumber, item.ROIName) for item in stored.StructureSetROISequence]
    assert names == [(1, "liver"), (2, "left kidney"), (5, "liver tumour")]
    assert float(stored.StructureSetROISequence[0].ROIVolume) == pytest.approx(1234 / 3)
    assert stored.ROIContourSequence[0].ROIDisplayColor == [0xDD, 0x82, 0x65]
    liver, kidney, tumour = stored.RTROIObservationsSequence
    assert liver.RTROIIdentificationCodeSequence[0].CodeValue == "10200004"
    side = kidney.RTROIIdentificationCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert [item.RTROIInterpretedType for item in (liver, kidney, tumour)] == ["ORGAN", "ORGAN", ""]


def test_numbers_fit_in_decimal_strings(tmp_path: Path) -> None:
    def far(k: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [-98765.123456, 123456.7890123, f"{-1234.5678 + k / 300:.7f}"]
        dataset.PixelSpacing = [0.0012345, 0.0011111]

    volume = read(series(tmp_path / "ct", far))
    stored = pydicom.dcmread(written(tmp_path / "out", volume, painted(volume.grid)))
    contour = stored.ROIContourSequence[0].ContourSequence[0]
    words = contour.get_item("ContourData").value.decode().split("\\")
    assert max(map(len, words)) <= 16


def test_objects_are_a_region_each(ct: Path, image: Volume, tmp_path: Path) -> None:
    array = np.zeros((2, *SIZE), np.uint32)
    array[0, 3:9, 3:9, 2] = 1
    array[1, 4:6, 4:6, 2], array[1, 20, 8:12, 5] = 7, 70_000
    table = LabelTable((LIVER, Label(2, "lesion", layer=1), Label(3, "cyst", layer=1)))
    things = (Object(7, "lesion"), Object(70_000, "lesion"))
    segmentation = Segmentation(array, image.grid, table, ("labels", "objects"), things)
    path = written(tmp_path, image, segmentation)
    names = [(item.ROINumber, item.ROIName) for item in pydicom.dcmread(path).StructureSetROISequence]
    assert names == [(1, "liver"), (2, "lesion 7"), (3, "lesion 70000"), (4, "cyst")]
    back = read_segmentation(path, onto=image)
    assert np.array_equal(back.mask("lesion 7"), array[1] == 7)
    assert np.array_equal(back.mask("lesion 70000"), array[1] == 70_000)
    assert np.array_equal(back.mask("liver"), array[0] == 1)
    assert dciodvfy(path) == []


def test_an_empty_mask_says_what_was_looked_for(image: Volume, tmp_path: Path) -> None:
    segmentation = painted(image.grid)
    path = written(tmp_path, image, segmentation.replace(array=np.zeros_like(segmentation.array)))
    stored = pydicom.dcmread(path)
    assert [item.ROIName for item in stored.StructureSetROISequence] == [
        "liver",
        "left kidney",
        "liver tumour",
    ]
    assert all("ContourSequence" not in item for item in stored.ROIContourSequence)
    assert dciodvfy(path) == []


def test_frames_of_one_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    file = write_enhanced(tmp_path / "ct" / "frames.dcm", np.zeros(SIZE, np.int16))
    volume = read(file.parent)
    segmentation = painted(volume.grid)
    path = written(tmp_path / "out", volume, segmentation)
    contour = pydicom.dcmread(path).ROIContourSequence[2].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == 7
    assert np.array_equal(read_segmentation(path, onto=volume).array, segmentation.array)
    assert dciodvfy(path) == []


def test_a_retry_has_the_same_uids(image: Volume, tmp_path: Path) -> None:
    one, other = (
        pydicom.dcmread(written(tmp_path / name, image, painted(image.grid))) for name in ("one", "other")
    )
    assert one.SOPInstanceUID == other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID


def test_another_image_is_refused_before_the_run(image: Volume) -> None:
    assert RTStruct().needs(image) is None
    assert "DICOM" in str(RTStruct().needs(Volume(image.array, image.grid)))


@pytest.mark.parametrize("form", ["binary", "labelmap"])
def test_each_region_names_the_segment_that_it_was_drawn_from(
    ct: Path, image: Volume, tmp_path: Path, form: Literal["binary", "labelmap"]
) -> None:
    array = np.zeros((2, *SIZE), np.uint32)
    array[0, 3:9, 3:9, 2] = 1
    array[1, 4:6, 4:6, 2], array[1, 20, 8:12, 5] = 7, 70_000
    table = LabelTable((LIVER, Label(2, "lesion", layer=1)))
    things = (Object(7, "lesion"), Object(70_000, "lesion"))
    segmentation = Segmentation(array, image.grid, table, ("labels", "objects"), things)
    files = list(DicomSeg(type=form)(result(image, segmentation), tmp_path))
    path = written(tmp_path, image, segmentation)
    named = {
        item.ROIName: item.DefinitionSourceSequence[0]
        for item in pydicom.dcmread(path).StructureSetROISequence
    }
    segments = {
        segment.SegmentLabel: (file.SOPClassUID, file.SOPInstanceUID, segment.SegmentNumber)
        for file in (pydicom.dcmread(file, stop_before_pixels=True) for file in files)
        for segment in file.SegmentSequence
        if segment.SegmentNumber
    }
    assert len(segments) == 3
    assert {
        name: (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, item.ReferencedSegmentNumber)
        for name, item in named.items()
    } == segments
    if form == "binary":  # the validator knows no label maps, and no reference to one
        assert dciodvfy(path) == []
    assert dcentvfy([path, *ct.iterdir()]) == []
