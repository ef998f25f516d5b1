"""Segments of a DICOM segmentation: which label or object each is, and how reports refer to it.

Labels and objects are numbered 1, 2, 3 … in the order of the label table, whatever their values are: the
standard asks it of masks of one bit. An object of a layer of objects is a segment of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.colours import colour_of_object, colours_of
from medseg.io.dicom_results.identifiers import result_uid
from medseg.io.dicom_results.origin import one_line
from medseg.io.dicom_results.references import Reference
from medseg.segmentation import Label, Segmentation
from medseg.volume import Source

if TYPE_CHECKING:
    from medseg.io.dicom_results.origin import Origin

__all__ = [
    "MOST_SEGMENTS",
    "Segment",
    "files_of_segments",
    "numbers_on_slices",
    "segments_of",
    "tracking_uid",
]

MOST_SEGMENTS = 65_535  # SegmentNumber has 16 bits, and 0 is background
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
HIGHEST_LOOKED_UP = 1 << 24  # ids up to here have a table of 2 or 4 bytes each; higher ones are searched


TILE = (128, 16)  # columns and rows turned at once: of the sizes tried, what a processor's cache likes best
Numbering = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Segment:
    """One segment: its number in the file, its label, and the object's id where it is one object of it.

    `colour` is the one that pictures have; a segment that is in no file has none.
    """

    number: int
    label: Label
    object_id: int | None = None
    colour: str = ""

    @property
    def value(self) -> int:
        """What its voxels have in the array of the segmentation."""
        return self.label.value if self.object_id is None else self.object_id

    @property
    def name(self) -> str:
        """SegmentLabel, and TrackingID: the label's name, and the object's id behind it."""
        return one_line(self.label.name if self.object_id is None else f"{self.label.name} {self.object_id}")


def segments_of(segmentation: Segmentation) -> tuple[Segment, ...]:
    """All segments in order; a label without an object is one without a voxel.

    Raises InputError for more than a DICOM segmentation can hold.
    """
    things: dict[str, list[int]] = {}
    for thing in segmentation.objects:
        things.setdefault(thing.label, []).append(thing.id)
    found: list[tuple[Label, int | None]] = []
    for label in segmentation.labels:
        ids = sorted(things.get(label.name, ())) if segmentation.kinds[label.layer] == "objects" else []
        found += [(label, number) for number in ids] or [(label, None)]
    if len(found) > MOST_SEGMENTS:
        raise InputError(
            f"{len(found)} labels and objects; a DICOM segmentation holds {MOST_SEGMENTS} segments. "
            "Leave small objects out (remove-small), or write NIfTI"
        )
    colours = colours_of(segmentation.labels)
    return tuple(
        Segment(n, label, number, colours[label.name] if number is None else colour_of_object(number))
        for n, (label, number) in enumerate(found, start=1)
    )


def tracking_uid(origin: Origin, provenance: Mapping[str, Any], segment: Segment) -> str:
    """The UID by which a report ties its numbers to a segment."""
    return result_uid(origin, provenance, "tracking", segment.label.name, str(segment.object_id))


def files_of_segments(folder: Path) -> dict[int, Reference]:
    """The segmentation among the files of a folder that holds each segment, by the segment's number."""
    from pydicom import dcmread

    tags: list[Any] = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SegmentSequence"]
    found: dict[int, Reference] = {}
    for path in sorted(folder.glob("segmentation*.dcm")):
        header = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        if header.SOPClassUID in SEGMENTATIONS:
            file = Reference(*(str(header[tag].value) for tag in tags[:3]))
            found |= {int(segment.SegmentNumber): file for segment in header.SegmentSequence}
    return found


# ------------------------------------------------------------------ voxels
def numbers_on_slices(
    source: Source, segmentation: Segmentation, segments: Sequence[Segment]
) -> NDArray[np.unsignedinteger[Any]]:
    """Segment numbers `[L, slice, row, column]` on each original slice, in the order of `Source.headers`.

    Voxels of no segment are 0. One byte a voxel up to 255 segments, else two.
    """
    array = source.on_slices(segmentation)
    layers, columns, rows, slices = array.shape
    kind = np.uint8 if len(segments) <= 0xFF else np.uint16
    result = np.zeros((layers, slices, rows, columns), kind)
    tiles = product(range(0, columns, TILE[0]), range(0, rows, TILE[1]))
    own = [[segment for segment in segments if segment.label.layer == n] for n in range(layers)]
    numberings = [_numbering(each, kind) for each in own]
    for (i, j), (layer, number) in product(tiles, enumerate(numberings)):
        part = array[layer, i : i + TILE[0], j : j + TILE[1]]
        if part.max():  # around the body there is nothing to turn
            result[layer, :, j : j + TILE[1], i : i + TILE[0]] = number(part.transpose(2, 1, 0))
    return result


def _numbering(own: Sequence[Segment], kind: type[np.unsignedinteger[Any]]) -> Numbering:
    """What turns values of a layer into segment numbers."""
    values = np.array([segment.value for segment in own], np.uint64)
    numbers = np.array([segment.number for segment in own], kind)
    if not len(own) or values.max() > HIGHEST_LOOKED_UP:
        order = values.argsort()
        values, numbers = np.append(values[order], 0), np.append(numbers[order], kind(0))

        def searched(part: NDArray[Any]) -> NDArray[Any]:
            place = np.searchsorted(values[:-1], part)
            return np.where(values[place] == part, numbers[place], kind(0))

        return searched
    table = np.zeros(int(values.max()) + 2, kind)  # its last entry is for all higher values
    table[values] = numbers
    same = np.array_equal(table[:-1], np.arange(len(own) + 1))  # as usual: a copy is faster then
    return lambda part: part if same and part.max() <= len(own) else np.take(table, part, mode="clip")
