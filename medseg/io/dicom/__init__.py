"""Read a DICOM series from a folder: index the files, choose the series, check it, put slices together.

Right for a clean series of single-frame images, and a refusal in one line for everything else:

1. `index`: every file below the folder is indexed by its header, in the decoder process;
2. images are grouped by series, frame of reference, size, orientation, pixel spacing and image type. Reports,
   segmentations, plans, localizers and colour pictures are left out; two volumes are an error with a list;
3. `slices` and `stack` look for what forbids reading; nothing doubtful is repaired;
4. pixels are decoded slice by slice and rescaled to modality values (HU in CT). No window, no presentation
   table and no inversion of MONOCHROME1: those are for display.

Patient tags are never read. Source.headers keeps, for each slice, only what a result needs to refer to it.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from medseg.errors import GeometryError, InputError
from medseg.io.dicom.choose import candidate, chosen, found, plain
from medseg.io.dicom.header import SliceHeader, joined
from medseg.io.dicom.index import indexed
from medseg.io.dicom.stack import Stack
from medseg.io.dicom.values import Assembly
from medseg.io.policy import STRICT, Policy
from medseg.io.verdict import OK, Candidate
from medseg.volume import Source, Volume

__all__ = ["describe_dicom", "dicom_files", "read_dicom"]

logger = logging.getLogger(__name__)

KEPT = (
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "InstanceNumber",
    "TransferSyntaxUID",
)


def read_dicom(path: Path, policy: Policy = STRICT) -> Volume:
    """The one series below a folder as `[1, column, row, slice]` in RAS+ mm, slices along their normal.

    Values are int16 where the rescale keeps them whole and they fit, else int32; float32 where it does not.
    Pixel padding becomes -1024 HU in CT and the smallest real value elsewhere (0 stays 0 there). Raises
    GeometryError or InputError where there is no series, more than one, or one that is doubtful.
    """
    stack, left_out = _sound(path, policy)
    headers = stack.headers
    array, digests, padded = Assembly(headers).decoded()
    modality = headers[0].text("Modality") or None
    logger.debug("series ...%s: %d slices", plain(headers[0].text("SeriesInstanceUID")[-8:]), len(headers))
    source = Source(
        native=stack.grid,
        format="DICOM series",
        files=tuple(header.path for header in headers),
        sha256=digests,
        headers=tuple(_kept(header) for header in headers),
        modality=modality,
        verdict=OK,
        policies=(*_repairs(headers), *left_out, *padded),
    )
    channel = re.sub(r"[^a-z0-9]+", "", (modality or "").lower()) or "image"
    return Volume(array, stack.grid, (channel,), source)


def dicom_files(path: Path, policy: Policy = STRICT) -> tuple[Path, ...]:
    """The files that `read_dicom` would read, in its order, from headers only; raises what it would raise."""
    stack, _ = _sound(path, policy)
    return tuple(header.path for header in stack.headers)


def describe_dicom(path: Path) -> tuple[Candidate, ...]:
    """Every stack of images below a folder, the largest first, each with a verdict; no pixel is decoded."""
    return tuple(candidate(series) for series in found(indexed(path)))


def _sound(path: Path, policy: Policy) -> tuple[Stack, tuple[str, ...]]:
    """The one series that could be meant, with nothing that forbids reading it, and what was left out."""
    series, left_out = chosen(path, found(indexed(path)))
    if series.fault is not None:
        kind = GeometryError if series.fault.geometry else InputError
        raise kind(series.fault.detail if path.is_file() else f"{path.name}: {series.fault.detail}")
    assert series.stack is not None
    return series.stack, left_out


def _kept(header: SliceHeader) -> dict[str, Any]:
    return {keyword: header.values[keyword] for keyword in KEPT if header.values.get(keyword) is not None}


def _repairs(headers: tuple[SliceHeader, ...]) -> tuple[str, ...]:
    """What the files lack and where it was taken from; a result that refers to them must know."""
    notes = []
    repaired = {keyword for header in headers for keyword in header.values["repaired"]}
    if repaired:
        notes.append(f"{joined(sorted(repaired))} empty: taken from the file meta information")
    if not headers[0].text("SeriesInstanceUID"):
        notes.append("SeriesInstanceUID empty: files read as one series")
    if not all(header.values["preamble"] for header in headers):
        notes.append("files without the DICOM preamble")
    return tuple(notes)
