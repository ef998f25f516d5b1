"""An RT structure set: regions as closed contours on the slices of the series that they were found in.

Points lie on the edges of voxels, placed by each image's own header, so that tilted, oblique and unevenly
spaced series get their contours where their pixels are. Every contour names the image that it lies on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_results.algorithm import algorithm_of
from medseg.io.dicom_results.contours import traced
from medseg.io.dicom_results.origin import Origin, one_line
from medseg.io.dicom_results.references import Reference
from medseg.io.dicom_results.terms import ANATOMY, Term, declare_codes

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

    from medseg.prediction import Result

__all__ = ["Contour", "Region", "contours_of", "structure_set"]

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage
STUDY = "1.2.840.10008.3.1.2.3.1"  # what refers to a study says this class, PS3.3 C.8.8.5
CONTOURS = 0x30060040  # ContourSequence
SHORT = 16  # characters of a short string (SH), and of a decimal one (DS), PS3.5 6.2
DESCRIPTION = (
    "RESEARCH USE ONLY. Contours run along the edges of voxels; one within another is a hole. "
    "Volumes are counted in voxels, not computed from contours."
)


@dataclass(frozen=True, eq=False)
class Contour:
    """A closed contour: which slice of `Source.headers` it lies on, and points `[n, 2]` in voxel indices."""

    slice: int
    points: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Region:
    """One region of interest, with its contours in order of slices, and its volume where it was measured.

    `drawn_from` is the file and number of the segment that it shows, where there is one.
    """

    number: int
    name: str
    term: Term
    colour: str
    contours: Sequence[Contour] = field(repr=False)
    volume_ml: float | None = None
    drawn_from: tuple[Reference, int] | None = None


def contours_of(mask: NDArray[np.bool_], start: Sequence[int] = (0, 0, 0)) -> Iterator[Contour]:
    """The contours of a mask `[i, j, slice]` whose first voxel has the index `start`, slice by slice."""
    for number in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
        for corners in traced(mask[..., number]):
            yield Contour(start[2] + number, corners + (np.asarray(start[:2]) - 0.5))


def structure_set(
    origin: Origin, headers: Sequence[Mapping[str, Any]], regions: Iterable[Region], *, result: Result
) -> FileDataset:
    """The object, to be saved as it is: contours are encoded already, in implicit VR.

    `headers` are those of the volume's source, which say where each slice lies.
    """
    from pydicom.uid import ImplicitVRLittleEndian

    made = origin.new(STRUCTURE_SET, modality="RTSTRUCT", kind="rtstruct", result=result)
    # with explicit VR a DS ends at 64 kB, and a ragged contour has more points (PS3.5 7.1.2)
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made.OperatorsName = ""
    made.StructureSetLabel = "RESEARCH ONLY"
    made.StructureSetName = made.SeriesDescription
    made.StructureSetDescription = DESCRIPTION
    made.StructureSetDate, made.StructureSetTime = made.ContentDate, made.ContentTime
    del made.ContentDate, made.ContentTime  # a structure set has its own
    made.ApprovalStatus = "UNAPPROVED"
    references = [origin.reference(k) for k in range(len(headers))]
    made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(origin, references)]
    images = [_Image(header, _reference(item)) for header, item in zip(headers, references, strict=True)]
    digits = _digits(headers)
    named, drawn, observed = [], [], []
    for region in regions:
        named.append(_named(region, origin, result))
        drawn.append(_drawn(region, images, digits))
        observed.append(_observed(region))
    made.StructureSetROISequence, made.RTROIObservationsSequence = named, observed
    declare_codes(made)
    made.ROIContourSequence = drawn
    return made


def _frame_of_reference(origin: Origin, references: list[Dataset]) -> Dataset:
    """The whole series, which the contours lie in."""
    from pydicom import Dataset

    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = origin.first.SeriesInstanceUID
    series.ContourImageSequence = references
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY, origin.first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = origin.first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _named(region: Region, origin: Origin, result: Result) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ROINumber, item.ROIName = region.number, one_line(region.name)
    item.ReferencedFrameOfReferenceUID = origin.first.FrameOfReferenceUID
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    made_by = algorithm_of(result.provenance)
    item.ROIGenerationDescription = one_line(f"{made_by.source}, {made_by.name} {made_by.version}")
    if region.volume_ml is not None:
        item.ROIVolume = f"{region.volume_ml:.10g}"
    if region.drawn_from is not None:
        file, number = region.drawn_from
        segment = Dataset()
        segment.ReferencedSOPClassUID, segment.ReferencedSOPInstanceUID = file.sop_class, file.sop_instance
        segment.ReferencedSegmentNumber = number
        item.DefinitionSourceSequence = [segment]
    return item


def _drawn(region: Region, images: Sequence[_Image], digits: int) -> Dataset:
    """Colour and contours; an empty region has none, and is there to say that it was looked for."""
    from pydicom import DataElement, Dataset
    from pydicom.tag import Tag

    item = Dataset()
    item.ReferencedROINumber = region.number
    item.ROIDisplayColor = list(bytes.fromhex(region.colour[1:]))
    if region.contours:
        # "OB", so that bytes that are there already are written as they are: implicit VR names no VR
        item[CONTOURS] = DataElement(Tag(CONTOURS), "OB", b"".join(_encoded(region.contours, images, digits)))
    return item


class _Image(NamedTuple):
    """A slice that contours lie on: where it is, and an encoded ContourImageSequence that refers to it."""

    header: Mapping[str, Any]
    reference: bytes


def _encoded(contours: Sequence[Contour], images: Sequence[_Image], digits: int) -> Iterator[bytes]:
    """Each contour as an item of ContourSequence, in implicit VR, little endian (PS3.5 7.5, A.1).

    Encoded here, as ragged masks have contours by ten thousands: pydicom makes objects of every number and
    item, which takes it minutes.
    """
    places = [_placed(contour.points, images[contour.slice].header) for contour in contours]
    words = _decimals(np.concatenate(places), digits)
    start = 0
    for contour in contours:
        count = len(contour.points)
        stop = start + 3 * count
        body = b"".join(
            (
                images[contour.slice].reference,
                _element(0x3006, 0x0042, "CLOSED_PLANAR"),
                _element(0x3006, 0x0046, str(count)),
                _element(0x3006, 0x0050, "\\".join(words[start:stop])),
            )
        )
        yield struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body
        start = stop


def _element(group: int, number: int, text: str) -> bytes:
    """An element of text, padded to an even length."""
    value = text.encode("ascii") + b" " * (len(text) % 2)
    return struct.pack("<HHI", group, number, len(value)) + value


def _reference(item: Dataset) -> bytes:
    """A ContourImageSequence of one item, encoded."""
    from pydicom import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    around = Dataset()
    around.ContourImageSequence = [item]
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, around)
    return buffer.getvalue()


def _observed(region: Region) -> Dataset:
    """What the region is."""
    from pydicom import Dataset

    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = region.number
    code = region.term.type.concept()
    if region.term.modifier is not None:
        code.SegmentedPropertyTypeModifierCodeSequence = [region.term.modifier.concept()]
    item.RTROIIdentificationCodeSequence = [code]
    # a lesion is no target before somebody says so
    item.RTROIInterpretedType = "ORGAN" if region.term.category == ANATOMY else ""
    item.ROIInterpreter = ""
    return item


# ------------------------------------------------------------------ places
def _placed(points: NDArray[np.float64], header: Mapping[str, Any]) -> NDArray[np.float64]:
    """Points `[n, 2]` in voxel indices as `[n, 3]` in LPS mm: PS3.3 C.7.6.2.1.1, i counts columns."""
    along = np.array(header["ImageOrientationPatient"], np.float64).reshape(2, 3)
    rows, columns = (float(spacing) for spacing in header["PixelSpacing"])
    corner = np.array(header["ImagePositionPatient"], np.float64)
    return np.asarray(corner + points @ (along * [[columns], [rows]]), np.float64)


def _digits(headers: Sequence[Mapping[str, Any]]) -> int:
    """Digits after the point, so that a point is off by less than a thousandth of a voxel."""
    finest = min(float(spacing) for header in headers for spacing in header["PixelSpacing"])
    return int(np.clip(3 - np.floor(np.log10(finest)), 3, 8))


def _decimals(values: NDArray[np.float64], digits: int) -> list[str]:
    """The numbers in order, as decimal strings of at most 16 characters; each value is formatted once."""
    whole, where = np.unique(np.rint(values.reshape(-1) * 10.0**digits).astype(np.int64), return_inverse=True)
    words = np.array([_decimal(number, digits) for number in whole.tolist()], object)
    found: list[str] = words[where].tolist()
    return found


def _decimal(number: int, digits: int) -> str:
    """A whole number of 10 ** -digits, without zeros at the end; with fewer digits where it is too long."""
    text = f"{number / 10**digits:.{digits}f}"
    return text[:SHORT].rstrip("0").rstrip(".")
