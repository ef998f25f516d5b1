"""Pictures as DICOM objects that every viewer shows: Secondary Capture, and a PDF of the same pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_results.difference import different
from medseg.io.dicom_results.origin import Origin, one_line

if TYPE_CHECKING:
    from pydicom import FileDataset

    from medseg.prediction import Result

__all__ = ["captures", "pdf_document", "require_same_document", "require_same_pixels"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
WORKSTATION = "WSD"  # made by a program, PS3.3 C.8.6.1
NOWHERE = ("FrameOfReferenceUID", "PositionReferenceIndicator")  # a page lies at no place in the patient


def captures(
    pages: Iterable[tuple[NDArray[np.uint8], str]], origin: Origin, *, result: Result
) -> Iterator[FileDataset]:
    """One series of pages: pictures `[row, column, 3]`, red, green and blue, and what they show in words."""
    began: tuple[str, str] | None = None
    for number, (picture, words) in enumerate(pages, start=1):
        made = _capture(picture, words, origin, result=result, number=number)
        began = began or (made.SeriesDate, made.SeriesTime)
        made.SeriesDate, made.SeriesTime = began
        yield made


def _capture(
    picture: NDArray[np.uint8], words: str, origin: Origin, *, result: Result, number: int
) -> FileDataset:
    made = origin.new(
        SECONDARY_CAPTURE, modality="OT", kind="secondary-capture", result=result, instance=number,
        description="summary",
    )  # fmt: skip
    _mark(made)
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = made.ContentDate, made.ContentTime
    made.PatientOrientation = ""
    made.ImageComments = f"RESEARCH USE ONLY. {words}"
    made.DerivationDescription = one_line(words)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = picture.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.LossyImageCompression = "00"
    pixels = picture.tobytes()
    made.PixelData = pixels + b"\0" * (len(pixels) % 2)
    return made


def pdf_document(content: bytes, origin: Origin, *, result: Result) -> FileDataset:
    """A PDF file within a DICOM object."""
    made = origin.new(
        ENCAPSULATED_PDF, modality="DOC", kind="secondary-capture-pdf", result=result, description="summary"
    )
    _mark(made)
    made.AcquisitionDateTime = ""
    made.DocumentTitle = made.SeriesDescription
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made


def _mark(made: FileDataset) -> None:
    """What both kinds of pages say: words are burned in, and a program made them."""
    for keyword in NOWHERE:
        if keyword in made:
            delattr(made, keyword)
    made.ConversionType, made.BurnedInAnnotation = WORKSTATION, "YES"


def require_same_pixels(path: Path, picture: NDArray[np.uint8]) -> None:
    """Raise MedsegError where GDCM reads other pixels in a file than were meant."""
    import SimpleITK as sitk

    found: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    if not np.array_equal(found.reshape(-1, *found.shape[-2:]), picture):
        raise different(path, "it is not the picture that was made")


def require_same_document(path: Path, content: bytes) -> None:
    """Raise MedsegError where a file holds another PDF than was meant."""
    from pydicom import dcmread

    stored = dcmread(path)
    if stored.EncapsulatedDocument[: stored.EncapsulatedDocumentLength] != content:
        raise different(path, "it is not the PDF that was made")
