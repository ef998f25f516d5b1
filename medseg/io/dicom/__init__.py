"""Read a DICOM series from a folder: index the files, choose the series, check it, put slices together.

Right for a clean series, and a refusal in one line for everything else, unless a policy decides the doubt:

1. `index`: every file below the folder is indexed by its header, in the decoder process;
2. `group` and `choose`: images that belong together, and the one series that is meant;
3. `stack` looks for what forbids reading, `resolve` decides what a policy allows to decide: `copies`,
   `phases`, gaps and tilt (`even_grid`);
4. `values`: pixels are decoded slice by slice and rescaled to modality values (HU in CT). No window, no
   presentation table and no inversion of MONOCHROME1: those are for display.

Source.headers keeps, for each slice, only what a result needs to refer to it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.errors import GeometryError, InputError
from medseg.io.dicom.choose import Choice, Series, candidate, chosen, found, plain
from medseg.io.dicom.copies import without_copies
from medseg.io.dicom.header import SliceHeader, code, joined
from medseg.io.dicom.index import indexed
from medseg.io.dicom.resolve import FaultError, Resolved, resolved
from medseg.io.dicom.stack import placed
from medseg.io.dicom.suv import suv_factor
from medseg.io.dicom.values import CT_AIR_HU, Assembly
from medseg.io.policy import STRICT, Policy
from medseg.io.verdict import Candidate, Foretold
from medseg.volume import Source, Volume

__all__ = ["describe_dicom", "dicom_files", "foretell_dicom", "read_dicom"]

logger = logging.getLogger(__name__)

SERIES_UIDS = ("SeriesInstanceUID", "StudyInstanceUID")
CROWDED = ("not a volume", "several phases", "duplicate positions")
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
    "RescaleType",
    "Units",
    "InstanceNumber",
    "TransferSyntaxUID",
    "repaired",  # tags that the file does not have: a result that refers to them must not go to an archive
)


def read_dicom(path: Path, policy: Policy = STRICT) -> Volume:
    """The one series below a folder as `[1, column, row, slice]` in RAS+ mm, slices along their normal.

    Values are int16 where the rescale keeps them whole and they fit, else int32; float32 where it does not.
    Pixel padding becomes -1024 HU in CT and the smallest real value elsewhere (0 stays 0 there); so does what
    lies outside the slices where `policy` has them resampled. Raises GeometryError or InputError where there
    is no series, more than one, or one that is doubtful in a way that `policy` does not decide.
    """
    what, choice, passed = _resolved(path, policy)
    headers = what.stack.headers
    assembly = Assembly(headers, suv=policy.suv)
    array, digests, told = assembly.decoded()
    modality = _modality(headers)
    if what.even is not None:
        array = what.even.read(array, CT_AIR_HU if modality == "CT" else float(array.min()))
    logger.debug("series ...%s: %d slices", plain(headers[0].text("SeriesInstanceUID")[-8:]), len(headers))
    sha256 = dict(zip((header.path for header in headers), digests, strict=True))
    source = Source(
        native=what.native,
        format="DICOM series",
        files=tuple(sha256),
        sha256=tuple(sha256.values()),
        headers=tuple(_kept(header) for header in headers),
        modality=modality,
        patient=headers[0].text("patient"),
        verdict=what.verdict,
        policies=(*_repairs(headers), *choice.left_out, *passed, *what.notes, *told),
        decided=(*choice.decided, *what.decided, *assembly.decided),
    )
    channel = re.sub(r"[^a-z0-9]+", "", (modality or "").lower()) or "image"
    return Volume(array, what.grid, (channel,), source)


def dicom_files(path: Path, policy: Policy = STRICT) -> tuple[Path, ...]:
    """The files that `read_dicom` would read, in its order; raises what it would raise.

    Pixels are decoded only where several images lie at one position.
    """
    what, _, _ = _resolved(path, policy)
    return tuple(dict.fromkeys(header.path for header in what.stack.headers))


def foretell_dicom(path: Path, policy: Policy = STRICT) -> Foretold:
    """What `read_dicom` would give, from headers only; raises what it would raise, but for the pixels."""
    what, choice, _ = _resolved(path, policy)
    headers = what.stack.headers
    if policy.suv:
        suv_factor(headers)
    files = {header.path for header in headers}
    return Foretold(what.grid, len(files), (*choice.decided, *what.decided), _modality(headers))


def describe_dicom(path: Path) -> tuple[Candidate, ...]:
    """Every stack of images below a folder, the largest first, each with a verdict.

    From headers only, but for images at one position: whether they are copies only pixels can tell.
    """
    return tuple(candidate(_without_copies(series)) for series in found(indexed(path).headers))


def _without_copies(series: Series) -> Series:
    """The series as `read_dicom` would judge it; left as it is where its pixels cannot be decoded."""
    if series.stack is None or series.fault is None or series.fault.verdict not in CROWDED:
        return series
    try:
        stack, dropped, conflict = without_copies(series.stack)
    except InputError:
        return series
    if conflict is not None or not dropped:
        return replace(series, fault=conflict or series.fault)
    stack, fault = placed(stack.headers)
    return replace(series, headers=stack.headers, stack=stack, fault=fault)


def _resolved(path: Path, policy: Policy) -> tuple[Resolved, Choice, tuple[str, ...]]:
    """The one series that is meant, every doubt about it decided; how it was chosen; what else lay there."""
    headers, passed = indexed(path)
    choice = chosen(path, found(headers), policy.series)
    fault = choice.series.fault
    try:
        if choice.series.stack is not None:
            return resolved(choice.series.stack, policy), choice, passed
    except FaultError as undecided:
        fault = undecided.fault
    assert fault is not None
    kind = GeometryError if fault.geometry else InputError
    raise kind(fault.detail if path.is_file() else f"{path.name}: {fault.detail}")


def _modality(headers: tuple[SliceHeader, ...]) -> str | None:
    return code(headers[0].text("Modality")) or None


def _kept(header: SliceHeader) -> dict[str, Any]:
    kept = {
        keyword: header.values[keyword] for keyword in KEPT if header.values.get(keyword) not in (None, [])
    }
    if header.frame is not None:
        kept["frame"] = header.frame  # from 0, within its file
    return kept


def _repairs(headers: tuple[SliceHeader, ...]) -> tuple[str, ...]:
    """What the files lack and where it was taken from; a result that refers to them must know."""
    notes = []
    repaired = {keyword for header in headers for keyword in header.values["repaired"]}
    if repaired or not all(header.text(uid) for header in headers for uid in SERIES_UIDS):
        logger.warning("UIDs are empty in the files: no result may refer to them in an archive")
    if repaired:
        notes.append(f"{joined(sorted(repaired))} empty: taken from the file meta information")
    if not headers[0].text("SeriesInstanceUID"):
        notes.append("SeriesInstanceUID empty: files read as one series")
    if not all(header.values["preamble"] for header in headers):
        notes.append("files without the DICOM preamble")
    return tuple(notes)
