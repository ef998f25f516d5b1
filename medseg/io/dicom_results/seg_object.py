"""A DICOM segmentation of masks on the slices of its series, built by highdicom.

highdicom is given one stand-in for each slice: an image of one frame at the slice's place. So series of
single images, enhanced files and several of these are all the same to it, tilted and unevenly spaced slices
need no grid, and layers that overlap are further slices far away, never a fourth axis. What the stand-ins
left in the object is replaced by references to the real images, and by their places, afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_results.algorithm import algorithm_of
from medseg.io.dicom_results.identifiers import result_uid
from medseg.io.dicom_results.origin import MAKER, NUMBERS, REQUIRED
from medseg.io.dicom_results.references import refer_to
from medseg.io.dicom_results.segments import Segment, tracking_uid
from medseg.io.dicom_results.terms import declare_codes, term_of

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

    from medseg.io.dicom_results.origin import Origin
    from medseg.prediction import Result

__all__ = ["KIND", "Compression", "Frames", "seg_object"]

KIND = "dicom-seg"
# Color Palette Storage: for each stand-in highdicom looks through all that its class may hold for a number of
# frames, which takes 1 ms for a CT and a tenth of that for this
STAND_IN = "1.2.840.10008.5.1.4.39.1"
Compression = Literal["none", "rle", "jpeg-ls"]
COPIED = (
    "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator", "Rows",
    "Columns", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "SpecificCharacterSet",
)  # fmt: skip
FAR_MM = 1e5
SAME = 1e-3  # of the distance of slices: it is told where it is the same for all
SYNTAXES = {
    "none": "1.2.840.10008.1.2.1",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
}


@dataclass(frozen=True, eq=False)
class Frames:
    """What goes into one file: segment numbers `[L, slice, row, column]` of layers that may overlap.

    `type` is "BINARY", a frame of one bit for each segment and slice with content, or "LABELMAP", a frame for
    each slice, of one layer. `instance` is the file's number in the series.
    """

    numbers: NDArray[np.unsignedinteger[Any]]
    segments: tuple[Segment, ...]
    type: Literal["BINARY", "LABELMAP"]
    compression: Compression = "none"
    instance: int = 1
    overlap: bool = False


def seg_object(frames: Frames, origin: Origin, result: Result) -> Dataset:
    """The segmentation as a data set, ready to be saved."""
    from highdicom.seg import Segmentation
    from pydicom.uid import UID

    layers, count = frames.numbers.shape[:2]
    stand_ins = _stand_ins(origin, result)
    binary = frames.type == "BINARY"
    empty = binary and not frames.numbers.any()
    # with no mask at all a file must have a frame, and a frame for each slice says no more
    taken = range(1 if empty else count)
    made = Segmentation(
        source_images=[_moved(stand_ins[k], layer) for layer in range(layers) for k in taken],
        pixel_array=frames.numbers[:, : len(taken)].reshape(-1, *frames.numbers.shape[2:]),
        segmentation_type=frames.type,
        segment_descriptions=_descriptions(frames.segments, origin, result),
        series_instance_uid=result_uid(origin, result.provenance, KIND, "series"),
        series_number=NUMBERS["SEG"],
        sop_instance_uid=result_uid(origin, result.provenance, KIND, "instance", str(frames.instance)),
        instance_number=frames.instance,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=MAKER,
        device_serial_number=MAKER,
        transfer_syntax_uid=UID(SYNTAXES["none" if binary else frames.compression]),
        omit_empty_frames=binary and not empty,
        content_label="SEGMENTATION",
        content_description="Research use only",
    )
    slices = _refer(made, origin)
    if layers > 1:
        _put_back(made, slices, stand_ins)
    if frames.overlap:
        made.SegmentsOverlap = "YES"
    _settle(made, origin, result)
    return made


def _stand_ins(origin: Origin, result: Result) -> list[Dataset]:
    """For each slice an image of one frame: who and where it is, and its number instead of its UID."""
    from pydicom import Dataset

    assert result.volume.source is not None
    headers = result.volume.source.headers
    gaps = _gaps(headers)
    between = float(gaps.mean()) if len(gaps) and np.ptp(gaps) <= SAME * gaps.mean() else None
    # dcmqi makes its slices as thick as this where they are uneven, and of two frames in one it keeps one
    thickness = gaps.min() if len(gaps) and between is None else headers[0].get("SliceThickness")
    common = Dataset()
    for keyword in COPIED:
        if keyword in origin.first:
            common[keyword] = origin.first[keyword]
    for keyword in REQUIRED:
        setattr(common, keyword, None)  # who it is comes in at the end: highdicom doubts unusual names
    common.SOPClassUID, common.Modality, common.ImageType = STAND_IN, "CT", ["ORIGINAL", "PRIMARY"]
    # one orientation for all, as the reader takes it: what rounding turns by less than half a voxel
    common.ImageOrientationPatient = _decimal(headers[0]["ImageOrientationPatient"])
    common.PixelSpacing = _decimal(headers[0]["PixelSpacing"])
    common.SliceThickness = _decimal([thickness or between or 1.0])[0]
    if between is not None:
        common.SpacingBetweenSlices = _decimal([between])[0]
    made = []
    for k, header in enumerate(headers):
        image = Dataset()
        image.update(common)
        image.SOPInstanceUID = f"1.{k + 1}"
        image.ImagePositionPatient = _decimal(header["ImagePositionPatient"])
        made.append(image)
    return made


def _moved(image: Dataset, layer: int) -> Dataset:
    """The same slice for a further layer, far away: highdicom wants places and UIDs that differ."""
    if layer == 0:
        return image
    from pydicom import Dataset

    there = Dataset()
    there.update(image)
    del there.ImagePositionPatient, there.SOPInstanceUID  # the elements are the other's, too
    there.SOPInstanceUID = f"1.{layer}.{image.SOPInstanceUID.rpartition('.')[2]}"
    rows, columns = np.array(image.ImageOrientationPatient, np.float64).reshape(2, 3)
    away = np.array(image.ImagePositionPatient, np.float64) + layer * FAR_MM * np.cross(rows, columns)
    there.ImagePositionPatient = _decimal(away.tolist())
    return there


def _gaps(headers: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Distances of neighbouring slices along their normal in mm."""
    rows, columns = np.array(headers[0]["ImageOrientationPatient"], np.float64).reshape(2, 3)
    heights = np.array([header["ImagePositionPatient"] for header in headers]) @ np.cross(rows, columns)
    return np.asarray(np.abs(np.diff(heights)), np.float64)


def _decimal(numbers: Sequence[float]) -> list[Any]:
    """Numbers as decimal strings of at most 16 characters, as close as these come."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(number), auto_format=True) for number in numbers]


# ------------------------------------------------------------------ segments
def _descriptions(segments: Sequence[Segment], origin: Origin, result: Result) -> list[SegmentDescription]:
    """What each segment is, by the coded terms of its label."""
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    algorithm = algorithm_of(result.provenance).sequence()
    terms = {label: term_of(label) for label in {segment.label for segment in segments}}
    made = []
    for segment in segments:
        term = terms[segment.label]
        red, green, blue = bytes.fromhex(segment.colour[1:])
        described = SegmentDescription(
            segment_number=segment.number,
            segment_label=segment.name,
            segmented_property_category=term.category.concept(),
            segmented_property_type=term.type.concept(),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=tracking_uid(origin, result.provenance, segment),
            tracking_id=segment.name,
            anatomic_regions=[term.region.concept()] if term.region is not None else None,
            display_color=CIELabColor.from_rgb(red, green, blue),
        )
        # within the item of what they modify (PS3.3 C.8.20.2.3, 10.5)
        if term.modifier is not None:
            kind = described.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [term.modifier.concept()]
        if term.region_modifier is not None:
            described.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [
                term.region_modifier.concept()
            ]
        made.append(described)
    return made


# ------------------------------------------------------------------ what highdicom leaves
def _refer(made: Dataset, origin: Origin) -> list[int]:
    """Put references to the real images where those to stand-ins are; returns the slice of each frame."""
    made.SourceImageSequence = refer_to(made, origin)
    slices, settled = [], dict[int, int]()
    for frame in made.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        k = settled.get(id(source))
        if k is None:  # frames of one slice share the item
            k = settled[id(source)] = int(source.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1
            source.update(origin.reference(k))
        slices.append(k)
    return slices


def _put_back(made: Dataset, slices: Sequence[int], stand_ins: Sequence[Dataset]) -> None:
    """Put the frames of all layers where their slices are, and give those at one place one index."""
    rank = {k: number for number, k in enumerate(sorted(set(slices)), start=1)}
    for frame, k in zip(made.PerFrameFunctionalGroupsSequence, slices, strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = stand_ins[k].ImagePositionPatient
        content = frame.FrameContentSequence[0]
        content.DimensionIndexValues = [*content.DimensionIndexValues[:-1], rank[k]]


def _settle(made: Dataset, origin: Origin, result: Result) -> None:
    """Patient, study and marks of ours; the codes' schemes; a UID that is the same on a rerun."""
    from pydicom import Dataset

    origin.complete(made, result=result)
    coded = Dataset()
    coded.SegmentSequence = made.SegmentSequence
    declare_codes(coded)
    if "CodingSchemeIdentificationSequence" in coded:
        made.CodingSchemeIdentificationSequence = coded.CodingSchemeIdentificationSequence
    uid = result_uid(origin, result.provenance, KIND, "dimensions", str(made.InstanceNumber))
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
