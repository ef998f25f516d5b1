"""What was written as a DICOM segmentation, read again and compared with the masks voxel by voxel.

The file goes through the reader of foreign masks, in the decoder process. That shares no code with what wrote
it: pixels are unpacked by other functions, and frames find their slices by the positions that the image's own
headers say, and must name the images that these are. A difference is an error, so that what is released says
what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_results.difference import different
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.segments import Segment, tracking_uid
from medseg.io.dicom_results.terms import term_of
from medseg.io.masks.dicom import mask_header
from medseg.io.masks.dicom_seg import BACKGROUND, decode_frames
from medseg.prediction import Result

__all__ = ["require_equal", "slices_of"]

NEAR_MM = 1e-3  # decimal strings of 16 characters are far closer
NEAR_COSINE = 1e-6
TILE = (128, 16)  # columns and rows compared at once, as the cache likes it
NUMBER = -1  # the column of a frame's row that has its segment


def require_equal(path: Path, result: Result, segments: Sequence[Segment]) -> None:
    """Raise MedsegError where a file does not hold just these segments, where they were found."""
    about, rows = mask_header(path, sources=True)
    source = result.volume.source
    assert source is not None
    if rows is None or about["object"] != "SEG":
        raise different(path, "it is no segmentation")
    table = np.asarray(rows, np.float64)
    _require_same_header(path, about, source.headers, segments)
    _require_same_terms(path, about, result, segments)
    slices = slices_of(table, source.headers)
    if (slices < 0).any():
        raise different(path, f"frame {int(slices.argmin()) + 1} lies on no slice of the image")
    found = _found(path, about, table, slices, segments, len(source.headers))
    array = source.on_slices(result.segmentation)
    for layer, numbers in found.items():
        own = [segment for segment in segments if segment.label.layer == layer]
        _compare(path, array[layer], numbers, own)
    if about["sources"] != [source.headers[k]["SOPInstanceUID"] for k in slices]:
        raise different(path, "a frame names another image than the one that it lies on")


def slices_of(
    rows: NDArray[np.float64],
    headers: Sequence[Mapping[str, Any]],
    *,
    near_mm: float = NEAR_MM,
    near_cosine: float = NEAR_COSINE,
) -> NDArray[np.intp]:
    """The slice on which each frame lies, by position, orientation and pixel spacing; -1 where on none."""
    places = np.array([header["ImagePositionPatient"] for header in headers], np.float64)
    # frames of many segments share few places: all distances of all frames would be gigabytes
    distinct, place = np.unique(rows[:, :3], axis=0, return_inverse=True)
    heading = np.array(headers[0]["ImageOrientationPatient"], np.float64)
    spacing = np.array(headers[0]["PixelSpacing"], np.float64)
    distance = np.linalg.norm(distinct[:, None] - places, axis=2)
    slices = distance.argmin(axis=1)[place.reshape(-1)]
    there = (distance.min(axis=1) <= near_mm)[place.reshape(-1)]
    there &= np.abs(rows[:, 3:9] - heading).max(axis=1) <= near_cosine
    there &= np.abs(rows[:, 9:11] - spacing).max(axis=1) <= near_mm
    return np.where(there, slices, -1)


def _require_same_header(
    path: Path, about: Mapping[str, Any], headers: Sequence[Mapping[str, Any]], segments: Sequence[Segment]
) -> None:
    """Hold names, numbers and references against what was meant."""
    named = {item["number"]: item["name"] for item in about["labels"] if item["code"] != BACKGROUND}
    meant = {segment.number: segment.name for segment in segments}
    wrong = next((number for number in {**meant, **named} if named.get(number) != meant.get(number)), None)
    if wrong is not None:
        raise different(path, f"segment {wrong} is {named.get(wrong)!r}, not {meant.get(wrong)!r}")
    if about["frames_of_reference"] != [headers[0]["FrameOfReferenceUID"]]:
        raise different(path, "it lies in another frame of reference than the image")
    if headers[0]["SeriesInstanceUID"] not in about["series"]:
        raise different(path, "it does not refer to the image's series")
    if about["study"] != headers[0]["StudyInstanceUID"]:
        raise different(path, "it belongs to another study than the image")


def _require_same_terms(
    path: Path, about: Mapping[str, Any], result: Result, segments: Sequence[Segment]
) -> None:
    """Hold the codes of each segment, its side above all, and the UID that reports know it by."""
    origin = Origin.of(result.volume)
    terms = {label: term_of(label) for label in {segment.label for segment in segments}}
    there = {item["number"]: item for item in about["labels"]}
    for segment in segments:
        term, item = terms[segment.label], there[segment.number]
        for key, code in (("category", term.category), ("code", term.type), ("modifier", term.modifier)):
            if item[key] != (None if code is None else f"{code.scheme}:{code.value}"):
                raise different(path, f"segment {segment.number} has another {key} than {segment.name!r}")
        if item["tracked"] != tracking_uid(origin, result.provenance, segment):
            raise different(path, f"segment {segment.number} has another tracking UID")


def _found(
    path: Path,
    about: dict[str, Any],
    rows: NDArray[np.float64],
    slices: NDArray[np.intp],
    segments: Sequence[Segment],
    count: int,
) -> dict[int, NDArray[Any]]:
    """Segment numbers `[slice, row, column]` of each layer as the file has them; some share an array."""
    layers = sorted({segment.label.layer for segment in segments})
    shape = (count, int(about["rows"]), int(about["columns"]))
    if about["kind"] == "LABELMAP":
        whole = np.zeros(shape, np.uint16 if about["bits"] == 16 else np.uint8)

        def take_slice(frame: int, values: NDArray[Any]) -> None:
            whole[slices[frame]] = values

        decode_frames(path, about, len(rows), take_slice)
        return dict.fromkeys(layers, whole)
    kind = np.uint8 if len(segments) <= 0xFF else np.uint16
    found = {layer: np.zeros(shape, kind) for layer in layers}
    layer_of = {segment.number: segment.label.layer for segment in segments}
    drawn = dict.fromkeys(layers, 0)

    def take_segment(frame: int, values: NDArray[Any]) -> None:
        number = int(rows[frame, NUMBER])
        layer, inside = layer_of[number], values != 0
        found[layer][slices[frame]][inside] = number
        drawn[layer] += int(np.count_nonzero(inside))

    decode_frames(path, about, len(rows), take_segment)
    for layer, numbers in found.items():
        if np.count_nonzero(numbers) != drawn[layer]:
            raise different(path, "two segments of one layer share voxels, or a frame is there twice")
    return found


def _compare(path: Path, array: NDArray[Any], numbers: NDArray[Any], own: Sequence[Segment]) -> None:
    """Hold segment numbers `[slice, row, column]` against values `[column, row, slice]` of one layer."""
    value_of = np.zeros(max(int(numbers.max()), *(segment.number for segment in own)) + 1, array.dtype)
    for segment in own:
        value_of[segment.number] = segment.value
    known = value_of[value_of != 0]
    same = np.array_equal(value_of, np.arange(len(value_of)))
    wrong, first = 0, None
    for i, j in product(range(0, array.shape[0], TILE[0]), range(0, array.shape[1], TILE[1])):
        tile, read = array[i : i + TILE[0], j : j + TILE[1]], numbers[:, j : j + TILE[1], i : i + TILE[0]]
        if not tile.max() and not read.max():
            continue  # as around the body, and quickly seen
        # turned into the file's order at once: comparing across two orders takes twice as long
        meant = np.ascontiguousarray(tile.transpose(2, 1, 0))
        read = read if same else np.take(value_of, read)
        if np.array_equal(meant, read):
            continue
        # values that are no label's and no object's are background
        differ = (meant != read) & ((read != 0) | np.isin(meant, known))
        wrong += int(np.count_nonzero(differ))
        if first is None and differ.any():
            first = int(np.argwhere(differ)[0][0])
    if wrong:
        raise different(path, f"{wrong} voxels differ from the mask, the first on slice {first}")
