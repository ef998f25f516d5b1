"""Read NRRD (.nrrd) and MetaImage (.mha): one file with a text header and the voxels after it.

The header is read here and held against the file before the decoder process is asked, because ITK loads
truncated data without a word in places. A header that points to other files (.nhdr, .mhd) could name any file
of the machine: refused. ITK's geometry is LPS; it becomes RAS+ here, and must be what the header says.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.decoder import decode, refuse_oversize
from medseg.io.regular_file import open_regular
from medseg.io.verdict import Candidate
from medseg.volume import LPS_TO_RAS, Grid, Source, Volume

__all__ = ["describe_itk", "nrrd_texts", "read_itk"]

MOST_HEADER = 1 << 26  # bytes of text; a segmentation of 100,000 objects has 30 MB
MOST_LINES = 1 << 20  # of which each takes memory by itself; a segment has nine
MOST_META = 1 << 20  # bytes; a MetaImage has no segments
LONG_HEADER = (
    1 << 18
)  # bytes; ITK compares each text with all before it, and takes minutes for 10,000 objects
SAME_MM = 1e-4  # ITK's geometry and ours may differ by rounding only
# NRRD's spaces with a side (teem's format definition, section 5), as factors to LPS
SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
NRRD_TYPES = {
    "int8": "signed char|int8|int8_t",
    "uint8": "uchar|unsigned char|uint8|uint8_t",
    "int16": "short|short int|signed short|signed short int|int16|int16_t",
    "uint16": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "int32": "int|signed int|int32|int32_t",
    "uint32": "uint|unsigned int|uint32|uint32_t",
    "int64": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "uint64": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "float32": "float",
    "float64": "double",
}
META_TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}


@dataclass(frozen=True, eq=False)
class _Header:
    """What a header claims: how many voxels of which type, where they lie, and how they are packed."""

    format: Literal["NRRD", "MetaImage"]
    shape: tuple[int, int, int]
    channels: int
    dtype: str
    affine: NDArray[np.float64]
    """Index to LPS mm."""
    packing: Literal["raw", "gzip", "zlib"]
    start: int
    """Byte of the file at which the voxels begin."""

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.channels * np.dtype(self.dtype).itemsize

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, LPS_TO_RAS @ self.affine)


def read_itk(path: Path) -> Volume:
    """The image `[C, i, j, k]` of an NRRD or MetaImage file, in RAS+ mm, values as stored.

    Raises InputError for a file that is damaged, points elsewhere, or says nothing about its orientation.
    """
    header = _header(path)
    refuse_oversize(header.bytes, path.name)
    _check_length(path, header)
    kept: list[tuple[dict[str, Any], NDArray[Any]]] = []

    def keep(fields: dict[str, Any], array: NDArray[Any] | None) -> None:
        if array is not None:
            kept.append((fields, array))

    reader = "NrrdImageIO" if header.format == "NRRD" else "MetaImageIO"
    with _short(path, header) as file_of_itk:
        decode({"do": "itk", "image_io": reader}, files=[file_of_itk], take=keep, most_bytes=header.bytes)
    fields, decoded = kept[0]
    array = _channels_first(decoded)
    grid = _checked(path, header, fields, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise InputError(
            f"{path.name}: {count} of {array.size} values are NaN or infinite; repair the image first"
        )
    with open_regular(path) as file:
        digest = file.sha256()
    source = Source(native=grid, format=header.format, files=(path,), sha256=(digest,))
    return Volume(array, grid, _channel_names(header.channels), source)


@contextmanager
def _short(path: Path, header: _Header) -> Iterator[Path]:
    """The file, or where its header is long a copy without the texts, which ITK is not asked for."""
    if header.format != "NRRD" or header.start <= LONG_HEADER:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="medseg-") as folder, path.open("rb") as file:
        copy = Path(folder) / path.name
        lines = _lines(path.name, file, lambda line: line == "", MOST_HEADER)
        with copy.open("wb") as into:
            into.write("".join(f"{line}\n" for line in lines if ":=" not in line).encode())
            shutil.copyfileobj(file, into)
        yield copy


def describe_itk(path: Path) -> tuple[Candidate, ...]:
    """What the header says, with the file's length checked; no voxel is decoded."""
    header = _header(path)
    _check_length(path, header)
    grid = header.grid
    return (
        Candidate(
            format=header.format,
            shape=header.shape,
            channels=header.channels,
            spacing=grid.spacing,
            axis_codes=grid.axis_codes,
            dtype=header.dtype,
            reading_bytes=header.bytes * 5 // 4,  # voxels, and of float32 which of them are finite
        ),
    )


def nrrd_texts(path: Path) -> dict[str, str]:
    """The texts of an NRRD header (`key:=value`), by which programs keep what the format has no field for."""
    with path.open("rb") as file:
        lines = _lines(path.name, file, lambda line: line == "", MOST_HEADER)
    pairs = (line.split(":=", 1) for line in lines[1:] if ":=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def _channel_names(count: int) -> tuple[str, ...]:
    return ("image",) if count == 1 else tuple(f"channel-{n}" for n in range(1, count + 1))


def _channels_first(decoded: NDArray[Any]) -> NDArray[Any]:
    """ITK's `[k, j, i]` or `[k, j, i, channel]` as `[channel, i, j, k]`."""
    if decoded.ndim == 3:
        return decoded.transpose(2, 1, 0)[None]
    return decoded.transpose(3, 2, 1, 0)


def _checked(path: Path, header: _Header, fields: dict[str, Any], array: NDArray[Any]) -> Grid:
    """The grid that header and ITK agree on."""
    if array.shape != (header.channels, *header.shape) or array.dtype != np.dtype(header.dtype):
        raise InputError(
            f"{path.name}: ITK reads {array.dtype} {array.shape}, its header says {header.dtype} "
            f"{(header.channels, *header.shape)}"
        )
    affine = np.eye(4)
    affine[:3, :3] = np.array(fields["direction"]).reshape(3, 3) * np.array(fields["spacing"])
    affine[:3, 3] = fields["origin"]
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (*header.shape, 1)
    if np.abs(corners @ (affine - header.affine).T).max() > SAME_MM:
        raise GeometryError(
            f"{path.name}: ITK places its voxels elsewhere than its header says; its axes may be sheared"
        )
    return header.grid


# ------------------------------------------------------------------ headers
def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        try:
            header = _nrrd(path.name, file) if magic == b"NRRD" else _meta(path.name, file)
            header.grid  # noqa: B018  # raises where the affine is no geometry
        except GeometryError as problem:
            raise GeometryError(f"{path.name}: {problem}") from problem
        except (ValueError, OverflowError) as problem:
            raise InputError(f"{path.name}: damaged header: a number in it cannot be read") from problem
    return header


def _lines(name: str, file: IO[bytes], last: Callable[[str], bool], most: int) -> list[str]:
    """Header lines up to and including the one that is `last`, of at most so many bytes."""
    lines: list[str] = []
    while file.tell() < most and len(lines) < MOST_LINES:
        line = file.readline(most)
        if not line.endswith(b"\n"):
            break
        lines.append(line.decode("utf-8", "replace").strip())
        if last(lines[-1]):
            return lines
    raise InputError(f"{name}: its header has no end; the file is truncated or not an image")


def _nrrd(name: str, file: IO[bytes]) -> _Header:
    """Header of an NRRD file, versions 1 to 5 (teem's "Definition of NRRD File Format")."""
    lines = _lines(name, file, lambda line: line == "", MOST_HEADER)
    start = file.tell()
    fields = {
        key.strip().lower().replace(" ", ""): value.strip()
        for key, value in (
            line.split(": ", 1) for line in lines[1:] if ": " in line and not line.startswith("#")
        )
    }
    if "datafile" in fields or any(line.lower().startswith(("data file:", "datafile:")) for line in lines):
        raise InputError(
            f"{name}: its voxels are in another file (NHDR), which is not followed; save it as one .nrrd"
        )
    missing = [key for key in ("type", "dimension", "sizes", "encoding") if key not in fields]
    if missing:
        raise InputError(f"{name}: its NRRD header has no {' and no '.join(missing)}")
    for key in ("byteskip", "lineskip"):
        if int(fields.get(key, "0")) != 0:
            raise InputError(f"{name}: NRRD files that skip bytes or lines before the voxels are not read")
    packing = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}.get(fields["encoding"].lower())
    if packing is None:
        raise InputError(f"{name}: NRRD encoding {fields['encoding']!r} is not read; save it as raw or gzip")
    shape, channels, directions = _nrrd_axes(name, fields)
    return _Header(
        format="NRRD",
        shape=shape,
        channels=channels,
        dtype=_nrrd_type(name, fields["type"]),
        affine=_nrrd_affine(name, fields, directions),
        packing="gzip" if packing == "gzip" else "raw",
        start=start,
    )


def _nrrd_type(name: str, word: str) -> str:
    for dtype, names in NRRD_TYPES.items():
        if word.lower() in names.split("|"):
            return dtype
    raise InputError(f"{name}: NRRD type {word!r} is not read")


def _nrrd_axes(name: str, fields: dict[str, str]) -> tuple[tuple[int, int, int], int, list[str]]:
    """Voxels along the three axes of space, channels on a fourth, and the text of the three directions."""
    sizes = [int(size) for size in fields["sizes"].split()]
    if int(fields["dimension"]) != len(sizes) or min(sizes, default=0) < 1:
        raise InputError(f"{name}: NRRD sizes {fields['sizes']!r} do not fit dimension {fields['dimension']}")
    if "spacedirections" not in fields or "space" not in fields:
        raise InputError(
            f"{name}: its NRRD header has no space and space directions: where left and right are is unknown"
        )
    directions = re.findall(r"none|\([^)]*\)", fields["spacedirections"])
    if len(directions) != len(sizes):
        raise InputError(f"{name}: {len(directions)} NRRD space directions for {len(sizes)} axes")
    spatial = [axis for axis, direction in enumerate(directions) if direction != "none"]
    if len(spatial) != 3 or spatial != list(range(spatial[0], spatial[0] + 3)) or len(sizes) > 4:
        raise InputError(
            f"{name}: {len(sizes)} axes, {len(spatial)} of them in space; three and one for channels are read"
        )
    channels = math.prod(size for axis, size in enumerate(sizes) if axis not in spatial)
    i, j, k = (sizes[axis] for axis in spatial)
    return (i, j, k), channels, [directions[axis] for axis in spatial]


def _nrrd_affine(name: str, fields: dict[str, str], directions: list[str]) -> NDArray[np.float64]:
    side = SPACES.get(fields["space"].lower())
    if side is None:
        raise InputError(f"{name}: NRRD space {fields['space']!r} does not say where left and right are")
    if "spaceorigin" not in fields:
        raise InputError(f"{name}: its NRRD header has no space origin")
    for unit in re.findall(r'"([^"]*)"', fields.get("spaceunits", "")):
        if unit not in ("mm", ""):
            raise InputError(f"{name}: NRRD space units are {unit!r}; medseg reads millimetres")
    affine = np.eye(4)
    for column, text in enumerate([*directions, fields["spaceorigin"]]):
        vector = [float(number) for number in text.strip("()").split(",")]
        if len(vector) != 3:
            raise InputError(f"{name}: {text!r} in its NRRD header is not a point in space")
        affine[:3, column] = np.multiply(vector, side)
    return affine


def _meta(name: str, file: IO[bytes]) -> _Header:
    """Header of a MetaImage file (ITK's MetaIO): `Key = Value` lines, ElementDataFile last."""
    lines = _lines(name, file, lambda line: line.replace(" ", "").startswith("ElementDataFile="), MOST_META)
    start = file.tell()
    fields = {
        key.strip(): value.strip() for key, value in (line.split("=", 1) for line in lines if "=" in line)
    }
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise InputError(
            f"{name}: its voxels are in another file (MHD), which is not followed; save it as one .mha"
        )
    sizes = [int(size) for size in fields.get("DimSize", "").split()]
    if int(fields.get("NDims", "0")) != 3 or len(sizes) != 3 or min(sizes) < 1:
        raise InputError(
            f"{name}: NDims {fields.get('NDims')}, DimSize {fields.get('DimSize')!r} in its header, not 3-D"
        )
    dtype = META_TYPES.get(fields.get("ElementType", "").removesuffix("_ARRAY"))
    if dtype is None:
        raise InputError(f"{name}: MetaImage element type {fields.get('ElementType')!r} is not read")
    if not _true(fields.get("BinaryData", "True")) or int(fields.get("HeaderSize", "0")) != 0:
        raise InputError(f"{name}: MetaImage voxels written as text or after a foreign header are not read")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    if channels < 1:
        raise InputError(f"{name}: a MetaImage with {channels} channels")
    return _Header(
        format="MetaImage",
        shape=(sizes[0], sizes[1], sizes[2]),
        channels=channels,
        dtype=dtype,
        affine=_meta_affine(name, fields),
        packing="zlib" if _true(fields.get("CompressedData", "False")) else "raw",
        start=start,
    )


def _meta_affine(name: str, fields: dict[str, str]) -> NDArray[np.float64]:
    """Index to LPS mm; a header that leaves any part of it to a default is refused."""
    matrix = next(
        (fields[key] for key in ("TransformMatrix", "Rotation", "Orientation") if key in fields), None
    )
    origin = next((fields[key] for key in ("Offset", "Position", "Origin") if key in fields), None)
    spacing = fields.get("ElementSpacing")
    if matrix is None or origin is None or spacing is None:
        raise InputError(
            f"{name}: no TransformMatrix, Offset or ElementSpacing in its header: where it lies is unknown"
        )
    affine = np.eye(4)
    # each row of TransformMatrix is the direction of one axis, so it is transposed into columns
    affine[:3, :3] = np.array([float(n) for n in matrix.split()]).reshape(3, 3).T
    affine[:3, :3] *= np.array([float(n) for n in spacing.split()]).reshape(1, 3)
    affine[:3, 3] = np.array([float(n) for n in origin.split()]).reshape(3)
    return affine


def _true(word: str) -> bool:
    return word.strip().lower() in ("true", "t", "1")


# ------------------------------------------------------------------ length
def _check_length(path: Path, header: _Header) -> None:
    """Count the bytes that follow the header, inflated piece by piece, and hold them against the claim."""
    there = path.stat().st_size - header.start
    if header.packing != "raw":
        with path.open("rb") as file:
            file.seek(header.start)
            there = _inflated(path.name, file, header)
    if there < header.bytes:
        raise InputError(
            f"{path.name}: truncated: its header needs {header.bytes} bytes of voxels, the file holds {there}"
        )
    if there > header.bytes:
        raise InputError(
            f"{path.name}: its header needs {header.bytes} bytes of voxels and more follow; the two disagree"
        )


def _inflated(name: str, file: IO[bytes], header: _Header) -> int:
    """Bytes that the stream inflates to, at most one more than the header claims."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS + (16 if header.packing == "gzip" else 0))
    count = 0
    try:
        while not inflater.eof and count <= header.bytes:
            piece = inflater.unconsumed_tail or file.read(1 << 20)
            if not piece:
                break
            count += len(inflater.decompress(piece, 1 << 24))
    except zlib.error:
        raise InputError(f"{name}: its compressed voxels are damaged after {count} bytes") from None
    return count
