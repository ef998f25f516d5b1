"""Read a DICOM series from a folder: index the files, choose the series, check it, put slices together.

Right for a clean series of single-frame images, and a refusal in one line for everything else:

1. every file below the folder is indexed by its header, in the decoder process;
2. images are grouped by series, frame of reference, size, orientation, pixel spacing and image type. Reports,
   segmentations, plans, localizers and colour pictures are left out; two volumes are an error with a list;
3. `slices` and `stack` look for what forbids reading; nothing doubtful is repaired;
4. pixels are decoded slice by slice and rescaled to modality values (HU in CT). No window, no presentation
   table and no inversion of MONOCHROME1: those are for display.

Patient tags are never read. Source.headers keeps, for each slice, only what a result needs to refer to it.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.decoder import decode, refuse_oversize
from medseg.io.slices import Fault, SliceHeader, differences, fault_of_headers, group, is_image, joined
from medseg.io.stack import Stack, placed
from medseg.io.verdict import OK, Candidate
from medseg.volume import Source, Volume

__all__ = ["describe_dicom", "dicom_files", "read_dicom"]

logger = logging.getLogger(__name__)

MOST_DEPTH = 12  # folders below the one given: patient/study/series is 3, a burnt disc with years and dates 6
MOST_FILES = 200_000
CT_AIR_HU = -1024.0  # what pixel padding outside the field of view becomes in CT: the usual lowest CT number
INT16 = np.iinfo(np.int16)
INT32 = np.iinfo(np.int32)
NAMED_DICOM = (".dcm", ".dicom", ".ima")
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
NOT_VOLUMES = ("localizer", "colour", "not a volume")


@dataclass(frozen=True, eq=False)
class Series:
    """Images that could be one volume, in order where they could be placed, and what forbids reading them."""

    headers: tuple[SliceHeader, ...]
    stack: Stack | None
    fault: Fault | None

    @property
    def uid(self) -> str:
        """The series UID; empty in some anonymised files."""
        return self.headers[0].text("SeriesInstanceUID")

    @property
    def counts(self) -> bool:
        """Whether someone could mean it as a volume: no localizer, no colour picture, no single image."""
        return self.fault is None or self.fault.verdict not in NOT_VOLUMES


def read_dicom(path: Path) -> Volume:
    """The one series below a folder as `[1, column, row, slice]` in RAS+ mm, slices along their normal.

    Values are int16 where the rescale keeps them whole and they fit, else int32; float32 where it does not.
    Pixel padding becomes -1024 HU in CT and the smallest real value elsewhere (0 stays 0 there). Raises
    GeometryError or InputError where there is no series, more than one, or one that is doubtful.
    """
    stack, left_out = _sound(path)
    headers = stack.headers
    array, digests, padded = _Assembly(headers).decoded()
    modality = headers[0].text("Modality") or None
    logger.debug("series ...%s: %d slices", _plain(headers[0].text("SeriesInstanceUID")[-8:]), len(headers))
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


def dicom_files(path: Path) -> tuple[Path, ...]:
    """The files that `read_dicom` would read, in its order, from headers only; raises what it would raise."""
    stack, _ = _sound(path)
    return tuple(header.path for header in stack.headers)


def describe_dicom(path: Path) -> tuple[Candidate, ...]:
    """Every stack of images below a folder, the largest first, each with a verdict; no pixel is decoded."""
    return tuple(_candidate(series) for series in _indexed(path))


# ------------------------------------------------------------------ which files, which series
def _files(path: Path) -> Iterator[Path]:
    """Regular files below a folder, each once; linked folders and hidden files are left alone."""
    if not path.is_dir():
        yield path
        return
    seen: set[tuple[int, int]] = set()
    base = len(path.parts)
    for folder, below, names in os.walk(path, onerror=_unreadable_folder):
        here = Path(folder)
        if len(here.parts) - base >= MOST_DEPTH and below:
            raise InputError(
                f"{path.name}: folders are nested more than {MOST_DEPTH} deep; give the series' folder"
            )
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            file = here / name
            try:
                state = file.stat()
            except OSError:  # a dangling link
                continue
            place = (state.st_dev, state.st_ino)
            if name.startswith(".") or not stat.S_ISREG(state.st_mode) or place in seen:
                continue
            seen.add(place)
            if len(seen) > MOST_FILES:
                raise InputError(f"{path.name}: more than {MOST_FILES} files; give the folder of one study")
            yield file


def _unreadable_folder(problem: OSError) -> None:
    raise InputError(f"{Path(problem.filename).name}: the folder cannot be read: {problem.strerror}")


def _indexed(path: Path) -> list[Series]:
    """Every stack of images below `path`; raises InputError where there is none or a DICOM file is broken."""
    files = list(_files(path))
    records: list[dict[str, Any]] = []
    if files:
        decode({"do": "dicom-headers"}, files=files, take=lambda fields, _: records.append(fields))
    base = path if path.is_dir() else path.parent
    headers = []
    for file, record in zip(files, records, strict=True):
        name = file.relative_to(base).as_posix()
        _refuse_broken(name, file, record)
        header = SliceHeader(file, name, record)
        if not record["dicom"] or not is_image(header):
            continue
        if record["pixels"] is None:  # first of all: what else a cut header says may be cut too
            raise InputError(f"{name} has no pixel data: it is cut off or not an image; restore or remove it")
        headers.append(header)
    if not headers:
        what = "the folder is empty" if not files else f"no DICOM images among {len(files)} file(s)"
        raise InputError(f"{path.name}: {what}; give the folder of an image series")
    return [_judged(stack) for stack in group(headers)]


def _refuse_broken(name: str, file: Path, record: dict[str, Any]) -> None:
    if "broken" in record:
        raise InputError(f"{name}: {record['broken']}")
    if not record["dicom"] and file.suffix.lower() in NAMED_DICOM:
        what = "an empty file" if record["size"] == 0 else "not a DICOM file"
        raise InputError(f"{name}: {what}, though its name says so; restore it or take it out of the folder")


def _judged(headers: tuple[SliceHeader, ...]) -> Series:
    if headers[0].kind == "LOCALIZER":
        return Series(headers, None, Fault("localizer", f"{len(headers)} localizer image(s), not a volume"))
    fault = fault_of_headers(headers)
    if fault is not None:
        return Series(headers, None, fault)
    stack, fault = placed(headers)
    return Series(headers, stack, fault)


def _chosen(path: Path, found: Sequence[Series]) -> tuple[Series, tuple[str, ...]]:
    """The one series that could be meant, and a line for each that was left out."""
    meant = [series for series in found if series.counts]
    if not meant and len(found) == 1:
        return found[0], ()
    stray = next(
        (s for s in found for m in meant if s.fault and s.fault.verdict == "not a volume" and s.uid == m.uid),
        None,
    )
    if len(meant) == 1 and stray is None:
        others = [series for series in found if series is not meant[0]]
        return meant[0], tuple(f"left out: {_line(series)}" for series in others)
    mixed = [series for series in found if series.uid == found[0].uid]
    if len(mixed) == len(found) or stray is not None:
        sizes = " + ".join(str(len(series.headers)) for series in mixed)
        differ = differences([series.headers for series in mixed])
        raise GeometryError(
            f"{path.name}: one series mixes {sizes} images of different {differ}, as "
            f"{mixed[-1].headers[0].name}; separate them into one folder each"
        )
    listed = "; ".join(_line(series, described=True) for series in (meant or found))
    raise InputError(
        f"{path.name}: more than one series ({len(meant or found)}), give one folder only: {listed}"
    )


def _sound(path: Path) -> tuple[Stack, tuple[str, ...]]:
    """The one series that could be meant, with nothing that forbids reading it, and what was left out."""
    series, left_out = _chosen(path, _indexed(path))
    if series.fault is not None:
        kind = GeometryError if series.fault.geometry else InputError
        raise kind(series.fault.detail if path.is_file() else f"{path.name}: {series.fault.detail}")
    assert series.stack is not None
    return series.stack, left_out


def _line(series: Series, *, described: bool = False) -> str:
    """A series in a few words; `described` adds the operator's text, for the terminal only."""
    candidate = _candidate(series)
    size = " x ".join(str(n) for n in candidate.shape or ())
    spacing = " x ".join(f"{s:.4g}" for s in candidate.spacing or ())
    words = [candidate.description if described else "", candidate.modality or "image", size]
    words += [
        f"spacing {spacing} mm" if spacing else "",
        "" if candidate.readable else f"({candidate.verdict})",
    ]
    tail = f"UID ...{candidate.uid_tail}" if candidate.uid_tail else "no UID"
    return " ".join([*(word for word in words if word), tail])


def _candidate(series: Series) -> Candidate:
    first = series.headers[0]
    rows, columns = first.size
    fault, grid = series.fault, None
    if series.stack is not None and (
        fault is None or fault.verdict not in ("not a volume", "several phases")
    ):
        grid = series.stack.grid
    signed, bits = first.whole("PixelRepresentation", 0), first.whole("BitsAllocated", 0)
    return Candidate(
        format="DICOM series",
        modality=_plain(first.text("Modality")) or None,
        shape=(columns, rows, len(series.headers)),
        spacing=None if grid is None else grid.spacing,
        axis_codes=None if grid is None else grid.axis_codes,
        dtype=f"{'int' if signed else 'uint'}{bits}" if bits else "",
        files=len(series.headers),
        description=_plain(first.text("SeriesDescription")),
        uid_tail=_plain(series.uid[-8:]) or None,
        verdict=OK if fault is None else fault.verdict,
        detail="" if fault is None else fault.detail,
    )


def _plain(text: str) -> str:
    """Text from a header without what a terminal or a web page could obey."""
    return re.sub(r"[^\w .,:+*/()\-]", "_", text)[:64]


# ------------------------------------------------------------------ values
class _Assembly:
    """Decoded slices on their way into one array: the type grows only when values need it."""

    def __init__(self, headers: Sequence[SliceHeader]) -> None:
        rows, columns = headers[0].size
        self.headers = headers
        self.shape = (len(headers), rows, columns)
        whole = all(
            slope == 1 and intercept.is_integer() for slope, intercept in (h.rescale for h in headers)
        )
        # [slice, row, column]: as files come, so that each slice is one block of memory
        refuse_oversize(math.prod(self.shape) * (2 if whole else 4), headers[0].name)
        self.array: NDArray[Any] = np.zeros(self.shape, np.int16 if whole else np.float32)
        self.padding: NDArray[np.bool_] | None = None
        self.digests: list[str] = []

    def decoded(self) -> tuple[NDArray[Any], tuple[str, ...], tuple[str, ...]]:
        """The array `[1, column, row, slice]`, the files' sha256, and what was done about padding."""
        files = [header.path for header in self.headers]
        decode({"do": "dicom-pixels"}, files=files, take=self._take, most_bytes=math.prod(self.shape[1:]) * 4)
        note = self._fill_padding()
        return self.array.transpose(2, 1, 0)[None], tuple(self.digests), note

    def _take(self, fields: dict[str, Any], stored: NDArray[Any] | None) -> None:
        index = len(self.digests)
        header = self.headers[index]
        if stored is None or stored.shape != self.shape[1:]:
            shape = None if stored is None else stored.shape
            raise InputError(
                f"{header.name}: its pixels have the shape {shape}, its header says {self.shape[1:]}"
            )
        self.digests.append(str(fields["sha256"]))
        padding = _padding(header, stored)
        slope, intercept = header.rescale
        if self.array.dtype.kind == "f":
            self.array[index] = stored * np.float64(slope) + intercept
        else:
            values = stored.astype(np.int64) + int(intercept)
            if padding is not None:
                values[padding] = 0  # must not decide the type: padding is often -32768 or 65535
            self._widen(int(values.min()), int(values.max()))
            self.array[index] = values
        if padding is not None:
            if self.padding is None:
                self.padding = np.zeros(self.shape, bool)
            self.padding[index] = padding

    def _widen(self, low: int, high: int) -> None:
        if low < INT32.min or high > INT32.max:
            self.array = self.array.astype(np.float64)
        elif self.array.dtype == np.int16 and (low < INT16.min or high > INT16.max):
            self.array = self.array.astype(np.int32)

    def _fill_padding(self) -> tuple[str, ...]:
        if self.padding is None:
            return ()
        if self.headers[0].text("Modality") == "CT":
            fill = CT_AIR_HU
        else:
            real = self.array[~self.padding]
            fill = float(real.min()) if real.size else 0.0
        self.array[self.padding] = fill
        return (f"pixel padding: {int(self.padding.sum())} voxels set to {fill:g}",)


def _padding(header: SliceHeader, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels that PixelPaddingValue, or its range, marks as outside the image; None where there is none.

    Outside CT, padding that means zero signal already is left alone: it is the floor of the scale.
    """
    first = _stored_number(header, "PixelPaddingValue")
    if first is None:
        return None
    other = _stored_number(header, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if other is None else other))
    slope, intercept = header.rescale
    if header.text("Modality") != "CT" and low == high and low * slope + intercept == 0:
        return None
    inside: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return inside if inside.any() else None


def _stored_number(header: SliceHeader, keyword: str) -> int | None:
    """A tag that is written like a pixel; some files write a negative one as if it were unsigned."""
    value = header.number(keyword)
    if value is None:
        return None
    bits = header.whole("BitsAllocated", 16)
    number = int(value) % (1 << bits)
    signed = header.whole("PixelRepresentation", 0) == 1
    return number - (1 << bits) if signed and number >= 1 << (bits - 1) else number


# ------------------------------------------------------------------ what is remembered
def _kept(header: SliceHeader) -> dict[str, Any]:
    return {keyword: header.values[keyword] for keyword in KEPT if header.values.get(keyword) is not None}


def _repairs(headers: Sequence[SliceHeader]) -> tuple[str, ...]:
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
