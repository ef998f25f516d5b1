"""DICOM segmentations and structure sets in the decoder process: what they name, their frames and contours.

pydicom alone: highdicom refuses files that break the standard in places which do not matter here, and reads
all frames at once where these are given one by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.codecs import DEFLATED
from medseg.io.child.pixel_data import UNDEFINED, element_at, fragments_at
from medseg.io.child.reply import MOST_TEXT, RefusedError, Reply, one_line

__all__ = ["FRAME_COLUMNS", "dicom_contours", "dicom_mask_frames", "dicom_mask_header"]

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
MOST_SEGMENTS = 65_536  # what SegmentNumber can tell apart: every object of a slide may be one
MOST_LABELS = 4096  # regions; TotalSegmentator has 117
MOST_FRAMES = 200_000  # 104 segments on 300 slices, nothing omitted, are 31,200
FRAME_COLUMNS = 14
"""Of a frame's row: position 3 and orientation 6 (LPS), pixel spacing 2, slice thickness, spacing between
slices (mm), segment number; NaN for what the file does not say."""
NAN = float("nan")
# of which functional group and tag they are, and how many numbers each is
ROW: dict[str, dict[str, int]] = {
    "PlanePositionSequence": {"ImagePositionPatient": 3},
    "PlaneOrientationSequence": {"ImageOrientationPatient": 6},
    "PixelMeasuresSequence": {"PixelSpacing": 2, "SliceThickness": 1, "SpacingBetweenSlices": 1},
    "SegmentIdentificationSequence": {"ReferencedSegmentNumber": 1},
}

TAGS = """
    SOPClassUID Modality StudyInstanceUID FrameOfReferenceUID Rows Columns NumberOfFrames SegmentationType
    SegmentsOverlap SegmentationFractionalType MaximumFractionalValue PixelPaddingValue BitsAllocated
    SegmentSequence
    ReferencedSeriesSequence SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
    ReferencedFrameOfReferenceSequence StructureSetROISequence RTROIObservationsSequence ROIContourSequence
""".split()  # noqa: SIM905  # one quoted name a line would fill the page


def dicom_mask_header(request: dict[str, Any]) -> Iterator[Reply]:
    """What a segmentation or structure set says of itself; for a segmentation, a row for each frame.

    With `sources` in the request, also which image each frame was derived from, as "sources".
    """
    dataset = _dataset(request["files"][0])
    uid = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if uid in SEGMENTATIONS:
        rows, told = _frame_rows(dataset), _segmentation(dataset)
        if request.get("sources"):
            told["sources"] = _sources(dataset)
        yield told, rows
    elif uid == STRUCTURE_SET:
        yield _structure_set(dataset), None
    else:
        kind = _text(dataset.get("Modality")) or "unknown"
        raise RefusedError(
            f"a DICOM file of modality {kind}, neither a segmentation (SEG) nor a structure set (RTSTRUCT)"
        )


def dicom_mask_frames(request: dict[str, Any]) -> Iterator[Reply]:
    """Stored values `[row, column]` of each frame, in the order of the file."""
    from pydicom.pixels.utils import iter_pixels

    _require_whole(request["files"][0])
    frames = iter_pixels(request["files"][0], raw=True)
    while True:
        try:
            frame = next(frames, None)
        except (MemoryError, OSError, ImportError):
            raise
        except Exception as problem:
            raise RefusedError(f"its frames cannot be decoded: {one_line(problem)}") from problem
        if frame is None:
            return
        yield {}, frame


def _require_whole(path: str) -> None:
    """Refuse pixel data that is shorter than its frames: pydicom may read on into what follows it."""
    from pydicom import dcmread

    tags: list[Any] = ["Rows", "Columns", "NumberOfFrames", "BitsAllocated"]
    with open(path, "rb") as file:  # noqa: PTH123  # the name as it was sent
        dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
        if dataset.file_meta.get("TransferSyntaxUID") == DEFLATED:
            return  # read at once, and compared by pydicom
        implicit, little = dataset.original_encoding
        element = element_at(file, little=little is not False, implicit=bool(implicit))
        size = os.fstat(file.fileno()).st_size
        frames = int(dataset.get("NumberOfFrames") or 1)
        if element is None:
            raise RefusedError("its pixel data is missing or cut off")
        if element.length == UNDEFINED:
            there, needed = len(fragments_at(file, element.start, size)), frames
        else:
            there = 8 * min(element.length, size - element.start)
            needed = frames * int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated)
    if there < needed:
        raise RefusedError(f"its pixel data is cut off: not all of its {frames} frames are there")


def dicom_contours(request: dict[str, Any]) -> Iterator[Reply]:
    """Points `[n, 3]` of each contour, LPS mm, with its region's number, kind and referenced image."""
    dataset = _dataset(request["files"][0])
    for region in _items(dataset, "ROIContourSequence"):
        for contour in _items(region, "ContourSequence"):
            images = _items(contour, "ContourImageSequence")
            fields = {
                "region": int(region.ReferencedROINumber),
                "kind": _text(contour.get("ContourGeometricType")),
                "image": _text(images[0].get("ReferencedSOPInstanceUID")) if images else "",
                "claimed": _number(contour.get("NumberOfContourPoints")),
            }
            yield fields, _points(contour)


def _dataset(path: str) -> Any:
    from pydicom import dcmread

    from medseg.io.child.dicom import refuse_deflate_bomb

    with open(path, "rb") as file:  # noqa: PTH123  # the name as it was sent
        refuse_deflate_bomb(file)
        file.seek(0)
        return dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(TAGS))


def _items(dataset: Any, keyword: str) -> list[Any]:
    """A sequence's items; none where it is missing or is no sequence."""
    value = dataset.get(keyword)
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else []


def _text(value: Any) -> str:
    """A value as one short printable line."""
    text = "" if value is None else str(value)
    return "".join(letter for letter in text if letter.isprintable()).strip()[:MOST_TEXT]


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _numbers(value: Any, count: int) -> list[float]:
    """Exactly `count` numbers, or as many NaN."""
    try:
        numbers = [float(number) for number in value]
    except (TypeError, ValueError):
        numbers = []
    return numbers if len(numbers) == count else [NAN] * count


def _code(item: Any, keyword: str) -> str | None:
    """A coded concept as SCHEME:VALUE."""
    concepts = _items(item, keyword)
    if not concepts:
        return None
    scheme = _text(concepts[0].get("CodingSchemeDesignator"))
    values = (concepts[0].get(name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    value = next(filter(None, map(_text, values)), "")
    return f"{scheme}:{value}" if scheme and value else None


def _modifier(item: Any) -> str | None:
    """What a segment's type is modified by, as its side."""
    kinds = _items(item, "SegmentedPropertyTypeCodeSequence")
    return _code(kinds[0], "SegmentedPropertyTypeModifierCodeSequence") if kinds else None


# ------------------------------------------------------------------ segmentations
def _segmentation(dataset: Any) -> dict[str, Any]:
    segments = _items(dataset, "SegmentSequence")
    if len(segments) > MOST_SEGMENTS:
        raise RefusedError(f"it describes {len(segments)} segments; up to {MOST_SEGMENTS} are read")
    return {
        "object": "SEG",
        "kind": _text(dataset.get("SegmentationType")).upper(),
        "fraction": _text(dataset.get("SegmentationFractionalType")).upper(),
        "most": _number(dataset.get("MaximumFractionalValue")),
        "padding": _number(dataset.get("PixelPaddingValue")),
        "bits": _number(dataset.get("BitsAllocated")),
        "rows": _number(dataset.get("Rows")),
        "columns": _number(dataset.get("Columns")),
        "frames": _number(dataset.get("NumberOfFrames")),
        "frames_of_reference": [_text(dataset.get("FrameOfReferenceUID"))],
        "study": _text(dataset.get("StudyInstanceUID")),
        "overlap": _text(dataset.get("SegmentsOverlap")).upper(),
        "series": [
            _text(item.get("SeriesInstanceUID")) for item in _items(dataset, "ReferencedSeriesSequence")[:100]
        ],
        "labels": [
            {
                "number": int(item.SegmentNumber),
                "name": _text(item.get("SegmentLabel")),
                "code": _code(item, "SegmentedPropertyTypeCodeSequence"),
                "category": _code(item, "SegmentedPropertyCategoryCodeSequence"),
                "modifier": _modifier(item),
                "tracked": _text(item.get("TrackingUID")),
                "lab": _numbers(item.get("RecommendedDisplayCIELabValue"), 3),
            }
            for item in segments
        ],
    }


def _sources(dataset: Any) -> list[str]:
    """Of each frame; what frames of one slice say in the same bytes is parsed once: there are thousands."""
    known: dict[bytes, str] = {}
    sources = []
    for frame in _items(dataset, "PerFrameFunctionalGroupsSequence"):
        said = _said(frame, "DerivationImageSequence")
        source = known.get(said) if said is not None else None
        if source is None:
            source = _source(frame)
            if said is not None:
                known[said] = source
        sources.append(source)
    return sources


def _said(item: Any, keyword: str) -> bytes | None:
    """The bytes of an element as they stand in the file; None where it is missing, or parsed already."""
    stored = item.get_item(keyword) if keyword in item else None
    said = stored.value if stored is not None and stored.is_raw else None
    return said if isinstance(said, bytes) else None


def _source(frame: Any) -> str:
    """The SOPInstanceUID of the image that a frame was derived from; empty where it names none."""
    for derived in _items(frame, "DerivationImageSequence")[:1]:
        for image in _items(derived, "SourceImageSequence")[:1]:
            return _text(image.get("ReferencedSOPInstanceUID"))
    return ""


def _frame_rows(dataset: Any) -> NDArray[np.float64]:
    frames = _items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(frames) > MOST_FRAMES:
        raise RefusedError(f"it has {len(frames)} frames; up to {MOST_FRAMES} are read")
    shared = _items(dataset, "SharedFunctionalGroupsSequence")[:1]
    # what no frame says for itself; and what several say in the same bytes is parsed once
    common = {
        group: next(filter(None, (_group(item, group) for item in shared)), [NAN] * sum(ROW[group].values()))
        for group in ROW
    }
    known: dict[tuple[str, bytes], list[float]] = {}
    rows = [_frame_row(frame, common, known) for frame in frames]
    return np.array(rows, np.float64).reshape(-1, FRAME_COLUMNS)


def _frame_row(
    frame: Any, common: dict[str, list[float]], known: dict[tuple[str, bytes], list[float]]
) -> list[float]:
    row: list[float] = []
    for group in ROW:
        if group not in frame:
            row += common[group]
            continue
        said = _said(frame, group)
        numbers = known.get((group, said)) if said is not None else None
        if numbers is None:
            numbers = _group(frame, group) or common[group]
            if said is not None:
                known[group, said] = numbers
        row += numbers
    return row


def _group(item: Any, group: str) -> list[float] | None:
    """The numbers of a functional group; None where the item has none such."""
    items = _items(item, group)
    if not items:
        return None
    numbers: list[float] = []
    for keyword, count in ROW[group].items():
        value = items[0].get(keyword)
        numbers += _numbers(value if count > 1 else [value], count)
    return numbers


# ------------------------------------------------------------------ structure sets
def _structure_set(dataset: Any) -> dict[str, Any]:
    frames = _items(dataset, "ReferencedFrameOfReferenceSequence")
    series = [
        _text(item.get("SeriesInstanceUID"))
        for frame in frames
        for study in _items(frame, "RTReferencedStudySequence")
        for item in _items(study, "RTReferencedSeriesSequence")
    ]
    regions = _items(dataset, "StructureSetROISequence")
    if len(regions) > MOST_LABELS:
        raise RefusedError(f"it names {len(regions)} regions; up to {MOST_LABELS} are read")
    colours = {
        int(item.ReferencedROINumber): _numbers(item.get("ROIDisplayColor"), 3)
        for item in _items(dataset, "ROIContourSequence")
    }
    codes = {
        int(item.ReferencedROINumber): _code(item, "RTROIIdentificationCodeSequence")
        for item in _items(dataset, "RTROIObservationsSequence")
    }
    told = [_text(frame.get("FrameOfReferenceUID")) for frame in frames]
    told += [_text(region.get("ReferencedFrameOfReferenceUID")) for region in regions]
    told.append(_text(dataset.get("FrameOfReferenceUID")))
    return {
        "object": "RTSTRUCT",
        "frames_of_reference": sorted({uid for uid in told if uid})[:100],
        "series": series[:100],
        "labels": [
            {
                "number": int(region.ROINumber),
                "name": _text(region.get("ROIName")),
                "code": codes.get(int(region.ROINumber)),
                "rgb": colours.get(int(region.ROINumber)),
            }
            for region in regions
        ],
    }


def _points(contour: Any) -> NDArray[np.float64]:
    """The numbers of ContourData, split by NumPy: pydicom would make an object of each."""
    if "ContourData" not in contour:
        return np.empty((0, 3))
    element = contour.get_item("ContourData")
    value = element.value
    if isinstance(value, bytes):
        words = value.replace(b"\0", b" ").split(b"\\")
        numbers = np.array([float(word) for word in words] if value.strip(b"\0 ") else [], np.float64)
    else:
        numbers = np.array([] if value is None else value, np.float64)
    if numbers.size % 3 or not np.isfinite(numbers).all():
        raise RefusedError("a contour in it is damaged: its numbers are not points in space")
    return numbers.reshape(-1, 3)
