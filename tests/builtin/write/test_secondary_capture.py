"""Secondary Capture: valid, the pixels that were drawn, a banner, and nobody's name in the picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
import SimpleITK as sitk  # noqa: TID253 - a test module
from dicom_series import write_dicom_series
from dicom_validators import dcentvfy, dciodvfy_beyond

from medseg.builtin.write.secondary_capture import SecondaryCapture
from medseg.errors import MedsegError
from medseg.io import read
from medseg.io.dicom_results.picture_object import require_same_document, require_same_pixels
from medseg.prediction import Measured, Prediction, Result
from medseg.report.summary_pages import BAND, SIGNAL
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Volume

SIZE = (28, 24, 7)
LABELS = LabelTable((Label(1, "liver", colour="#dd8265"), Label(2, "liver tumour")))


def series(folder: Path, edit: Any = None) -> Path:
    stored = np.random.default_rng(5).integers(900, 1200, SIZE).astype(np.int16)
    return write_dicom_series(folder, stored, edit=edit)


def result(volume: Volume) -> Result:
    array = np.zeros((1, *SIZE), np.uint8)
    array[0, 5:20, 5:20, 1:6], array[0, 9:13, 9:12, 3] = 1, 2
    segmentation = Segmentation(array, volume.grid, LABELS)
    return Result(
        case_id="CANARYSURNAME",
        volume=volume,
        prediction=Prediction(segmentation=segmentation),
        segmentation=segmentation,
        measurements=(Measured(label="liver", quantity="volume", value=1.7, unit="mL"),),
        provenance={"model": {"name": "abdomen", "version": "1.2"}},
    )


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("series") / "ct")


@pytest.fixture(scope="module")
def written(ct: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("out")
    made = SecondaryCapture(pdf=True)(result(read(ct)), folder)
    return list(SecondaryCapture.check(made, folder=folder))


def test_a_page_of_each_kind(written: list[Path]) -> None:
    assert [path.name for path in written] == [
        *("summary-1.dcm", "summary-2.dcm", "summary-3.dcm"),
        "summary-pdf.dcm",
    ]
    words = [pydicom.dcmread(path).ImageComments for path in written[:3]]
    assert [each.partition(". ")[2] for each in words] == [
        *("Labels over the image", "Largest lesions", "Table of labels"),
    ]


def test_dciodvfy_finds_no_error_beyond_those_of_the_images(ct: Path, written: list[Path]) -> None:
    for path in written:
        assert dciodvfy_beyond(path, ct / "IM0000.dcm") == []
    assert dcentvfy([*written, *ct.iterdir()]) == []


def test_what_stands_in_it(ct: Path, written: list[Path]) -> None:
    first = pydicom.dcmread(ct / "IM0000.dcm")
    for number, path in enumerate(written[:3], start=1):
        stored = pydicom.dcmread(path)
        assert (stored.Modality, stored.SeriesNumber, stored.InstanceNumber) == ("OT", 903, number)
        assert (stored.BurnedInAnnotation, stored.ConversionType) == ("YES", "WSD")
        assert stored.SeriesDescription == "medseg abdomen summary - RESEARCH ONLY"
        assert stored.StudyInstanceUID == first.StudyInstanceUID
        assert stored.PatientID == first.PatientID
        assert "FrameOfReferenceUID" not in stored
    assert len({pydicom.dcmread(path).SeriesInstanceUID for path in written}) == 2
    assert len({pydicom.dcmread(path).SOPInstanceUID for path in written}) == 4
    document = pydicom.dcmread(written[3])
    assert (document.Modality, document.SeriesNumber) == ("DOC", 904)
    assert document.EncapsulatedDocument.startswith(b"%PDF-")
    assert document.EncapsulatedDocument.count(b"/Type /Page ") == 3


def test_gdcm_reads_the_pages_with_their_banner(ct: Path, written: list[Path]) -> None:
    pages = SecondaryCapture.pages(result(read(ct)))
    signal = tuple(bytes.fromhex(SIGNAL[1:]))
    for page, path in zip(pages, written[:3], strict=True):
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
        assert np.array_equal(found, page.picture)
        assert tuple(found[0, 0]) == tuple(found[BAND - 1, -1]) == signal
        lettering = np.flatnonzero((found[:BAND] < 64).all(axis=2).any(axis=0))
        assert 20 < lettering[0] < lettering[-1] < found.shape[1] - 20  # none of it is cut off


def test_a_picture_is_the_same_whoever_the_patient_is(ct: Path, tmp_path: Path) -> None:
    def another(_: int, dataset: Any) -> None:
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Other^One", "77", "19010203"

    one = result(read(ct))
    other = result(read(series(tmp_path / "ct", another)))
    for mine, its in zip(SecondaryCapture.pages(one), SecondaryCapture.pages(other), strict=True):
        assert np.array_equal(mine.picture, its.picture)


def test_another_image_is_refused_before_the_run(ct: Path) -> None:
    volume = read(ct)
    assert SecondaryCapture().needs(volume) is None
    assert "DICOM" in str(SecondaryCapture().needs(Volume(volume.array, volume.grid)))


def test_memory_grows_with_the_pages(ct: Path) -> None:
    volume = read(ct)
    segmentation = result(volume).segmentation
    many = LabelTable(tuple(Label(n, f"vertebra {n}") for n in range(1, 101)))
    few, more = (
        SecondaryCapture().work_bytes(volume, segmentation.replace(labels=table)) for table in (LABELS, many)
    )
    assert more - few == 3 * (12 << 20)


def test_a_file_with_other_content_is_an_error(written: list[Path], tmp_path: Path) -> None:
    stored = pydicom.dcmread(written[0])
    picture = stored.pixel_array.copy()
    require_same_pixels(written[0], picture)
    picture[100, 100] ^= 1
    with pytest.raises(MedsegError, match="not the picture"):
        require_same_pixels(written[0], picture)
    content = pydicom.dcmread(written[3]).EncapsulatedDocument
    with pytest.raises(MedsegError, match="not the PDF"):
        require_same_document(written[3], content.replace(b"%PDF-1.4", b"%PDF-1.3"))
