"""Pictures and documents as DICOM objects: what they say, and that a change of a byte is found."""

from pathlib import Path

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_series import CANARIES, write_dicom_series
from numpy.typing import NDArray
from seg_results import blobs, finished

from medseg.errors import MedsegError
from medseg.io import read
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.picture_object import (
    captures,
    pdf_document,
    require_same_document,
    require_same_pixels,
)
from medseg.prediction import Result

SIZE = (8, 7, 3)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    volume = read(write_dicom_series(tmp_path_factory.mktemp("series") / "ct", np.zeros(SIZE, np.int16)))
    return finished(volume, blobs(SIZE))


def picture(rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(rows).integers(0, 256, (rows, columns, 3)).astype(np.uint8)


def test_pages_are_one_series_of_plain_pictures(result: Result, tmp_path: Path) -> None:
    pages = [
        (picture(5, 7), "First \\ page"),
        (picture(4, 6), "x" * 100),
    ]  # the first has an odd number of bytes
    made = list(captures(pages, Origin.of(result.volume), result=result))
    for number, (page, (pixels, words)) in enumerate(zip(made, pages, strict=True), start=1):
        path = tmp_path / f"{number}.dcm"
        page.save_as(path, enforce_file_format=True)
        require_same_pixels(path, pixels)
        stored = pydicom.dcmread(path)
        assert np.array_equal(stored.pixel_array, pixels)
        assert len(stored.PixelData) % 2 == 0
        assert stored.ImageComments == f"RESEARCH USE ONLY. {words}"
        assert len(stored.DerivationDescription) <= 64
        assert (stored.InstanceNumber, stored.BurnedInAnnotation) == (number, "YES")
        assert str(stored.PatientName) == CANARIES[0]
        assert "FrameOfReferenceUID" not in stored
    assert len({page.SeriesInstanceUID for page in made}) == 1
    assert len({(page.SeriesDate, page.SeriesTime) for page in made}) == 1
    assert len({page.SOPInstanceUID for page in made}) == 2


def test_a_pixel_that_differs_is_found(result: Result, tmp_path: Path) -> None:
    pixels = picture(5, 7)
    (page,) = captures([(pixels, "page")], Origin.of(result.volume), result=result)
    page.save_as(tmp_path / "page.dcm", enforce_file_format=True)
    pixels[4, 6, 2] ^= 1
    with pytest.raises(MedsegError, match=r"page\.dcm: read back, it is not the picture"):
        require_same_pixels(tmp_path / "page.dcm", pixels)


@pytest.mark.parametrize("content", [b"%PDF-1.4 even", b"%PDF-1.4 odd"])
def test_a_document_keeps_every_byte_and_no_more(result: Result, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "document.dcm"
    pdf_document(content, Origin.of(result.volume), result=result).save_as(path, enforce_file_format=True)
    require_same_document(path, content)
    stored = pydicom.dcmread(path)
    assert stored.EncapsulatedDocument[: stored.EncapsulatedDocumentLength] == content
    assert (stored.Modality, stored.SeriesNumber, stored.BurnedInAnnotation) == ("DOC", 904, "YES")
    for other in (content + b" ", content[:-1], content.replace(b"P", b"p")):
        with pytest.raises(MedsegError, match="it is not the PDF"):
            require_same_document(path, other)
