"""Read a PNG or TIFF picture as a volume of one slice, `[C, x, y, 1]`: x is the column, y the row downwards.

The pages of a TIFF are the slices of a volume, where nothing says that they are anything else.

The world axes are those of an axial DICOM image, so that every radiological viewer shows the picture upright:
columns run to the left (L), rows to the back (P). These are names; nobody lay in a scanner. The unit is px
unless a pixel size in mm is given: resolution tags say how to print, not how large the thing was.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError, UsageError
from medseg.io.decoder import decode, refuse_oversize
from medseg.io.regular_file import open_regular
from medseg.io.verdict import Candidate
from medseg.volume import Grid, Source, Volume

__all__ = ["describe_picture", "read_picture"]

MOST_PIXELS = 1 << 28  # 16,384 x 16,384; a whole slide needs tiles, which are not read
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # colour type to channels (PNG specification, 11.2.1)
# where each pass starts and its steps, as column, row (PNG specification, 8.2)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
SLICES = ("Z", "I", "Q")  # axes of a TIFF's pages: depth, or without a name
MOST_UNSURE = 4  # pages without a name that may be colours, or a picture and its mask
STACKED = {"Z": "slices", "T": "points in time", "C": "channels", "S": "channels"}
# what tifffile unpacks by itself; the rest goes to ITK's libtiff
OWN_COMPRESSIONS = ("NONE", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS")


@dataclass(frozen=True)
class _Picture:
    """What a file's header claims."""

    format: str
    columns: int
    rows: int
    channels: int
    dtype: str
    request: dict[str, Any]
    slices: int = 1
    taken_for: tuple[str, ...] = ()
    """What its pages were taken for, though nothing says so."""

    @property
    def bytes(self) -> int:
        channels = self.channels + 1  # a palette may add alpha
        return self.columns * self.rows * self.slices * channels * np.dtype(self.dtype).itemsize

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.columns, self.rows, self.slices


def read_picture(path: Path, *, pixel_size: float | None, palette_as_values: bool = False) -> Volume:
    """The picture's values, unscaled; with `pixel_size` (mm) on a grid in mm, without it in px.

    Grey, RGB and alpha of 8 or 16 bits; palettes become RGB, 1-bit pictures 0 and 1. The grid is one voxel of
    the same size thick; grey pages of a TIFF are as many slices. `palette_as_values` gives a palette's
    entries by number, not by colour, as masks are kept. Raises InputError for animations, pages that are
    points in time or channels, and what would have to be guessed: what few pages without a name are, and how
    thick slices are whose pixels have a size.
    """
    picture = _header(path, palette_as_values=palette_as_values)
    grid = _grid(path.name, picture, pixel_size)
    kept: list[NDArray[Any]] = []

    def keep(_fields: dict[str, Any], array: NDArray[Any] | None) -> None:
        if array is not None:
            kept.append(array)

    decode(picture.request, files=[path], take=keep, most_bytes=picture.bytes)
    pixels = kept[0]
    if picture.slices == 1:
        pixels = pixels[None]
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.shape[:3] != picture.shape[::-1] or pixels.shape[3] not in CHANNELS:
        raise InputError(
            f"{path.name}: it decodes to {pixels.shape}, its header says {picture.rows} x {picture.columns}"
        )
    with open_regular(path) as file:
        digest = file.sha256()
    source = Source(
        native=grid, format=picture.format, files=(path,), sha256=(digest,), policies=picture.taken_for
    )
    return Volume(pixels.transpose(3, 2, 1, 0), grid, CHANNELS[pixels.shape[3]], source)


def describe_picture(path: Path, *, pixel_size: float | None = None) -> tuple[Candidate, ...]:
    """What the header says, with `pixel_size` (mm) as in `read_picture`; no pixel is decoded."""
    picture = _header(path)
    grid = _grid(path.name, picture, pixel_size)
    return (
        Candidate(
            format=picture.format,
            shape=picture.shape,
            channels=picture.channels,
            spacing=grid.spacing,
            unit=grid.unit,
            dtype=picture.dtype,
            reading_bytes=picture.bytes * 5 // 4,
        ),
    )


def _grid(name: str, picture: _Picture, pixel_size: float | None) -> Grid:
    if pixel_size is not None and not (math.isfinite(pixel_size) and pixel_size > 0):
        raise UsageError(f"a pixel size of {pixel_size} is not a length in mm")
    if pixel_size is not None and picture.slices > 1:
        raise InputError(
            f"{name}: a pixel size does not tell how thick its {picture.slices} slices are; save it as "
            "NIfTI with its spacing, or leave the pixel size out"
        )
    size = 1.0 if pixel_size is None else pixel_size
    affine = np.diag([-size, -size, size, 1.0])  # L, P, S: identity in LPS
    return Grid(picture.shape, affine, "px" if pixel_size is None else "mm")


def _header(path: Path, *, palette_as_values: bool = False) -> _Picture:
    with path.open("rb") as file:
        start = file.read(8)
    picture = _png(path, palette_as_values) if start == PNG_MAGIC else _tiff(path)
    _refuse_too_many(path.name, picture.columns, picture.rows)
    refuse_oversize(picture.bytes, path.name)
    return picture


def _refuse_too_many(name: str, columns: int, rows: int) -> None:
    if columns * rows > MOST_PIXELS:
        raise InputError(f"{name}: {columns} x {rows} pixels; up to {MOST_PIXELS} are read")


def _png(path: Path, palette_as_values: bool) -> _Picture:
    """IHDR, and a walk over all chunks: the file must be whole and hold one picture."""
    with path.open("rb") as file:
        chunks = _png_chunks(path.name, file, path.stat().st_size)
        columns, rows, depth, colour, _, _, woven = struct.unpack(">IIBBBBB", chunks[0].start)
        names = {chunk.name for chunk in chunks}
        if b"acTL" in names:
            raise InputError(f"{path.name}: an animated PNG; give a single picture")
        if colour not in PNG_CHANNELS or depth not in (1, 2, 4, 8, 16) or min(columns, rows) < 1 or woven > 1:
            raise InputError(
                f"{path.name}: damaged PNG header ({columns} x {rows}, {depth} bits, kind {colour})"
            )
        _refuse_too_many(path.name, columns, rows)
        # Pillow leaves rows black for which there is no data
        needed = _png_bytes(
            columns, rows, depth * (1 if colour == 3 else PNG_CHANNELS[colour]), woven=woven == 1
        )
        there = _inflated(file, [chunk for chunk in chunks if chunk.name == b"IDAT"], needed)
    if there != needed:
        what = f"{there} are there" if there < needed else "more follow"
        raise InputError(f"{path.name}: truncated or damaged: {needed} bytes of pixels are needed, {what}")
    # Pillow cuts 16-bit colours down to 8 bits; ITK's libpng keeps them
    deep_colour = depth == 16 and PNG_CHANNELS[colour] > 1
    request: dict[str, Any] = (
        {"do": "itk", "image_io": "PNGImageIO"} if deep_colour else {"do": "png", "most_pixels": MOST_PIXELS}
    )
    if colour == 3 and palette_as_values:
        request["palette_as_values"] = True
    channels = PNG_CHANNELS[colour] + (colour == 3 and b"tRNS" in names)
    return _Picture("PNG", columns, rows, channels, "uint16" if depth == 16 else "uint8", request)


class _Chunk(NamedTuple):
    name: bytes
    place: int
    length: int
    start: bytes
    """The first bytes of its data, enough for IHDR."""


def _png_chunks(name: str, file: io.BufferedReader, size: int) -> list[_Chunk]:
    """All chunks up to IEND; raises InputError where the file ends before it."""
    chunks: list[_Chunk] = []
    file.seek(8)
    while not chunks or chunks[-1].name != b"IEND":
        head = file.read(8)
        place = file.tell()
        length = struct.unpack(">I", head[:4])[0] if len(head) == 8 else size
        first_is_wrong = not chunks and (head[4:] != b"IHDR" or length != 13)
        if place + length + 4 > size or first_is_wrong:
            raise InputError(f"{name}: truncated or damaged PNG")
        chunks.append(_Chunk(head[4:], place, length, file.read(min(length, 13))))
        file.seek(place + length + 4)
    return chunks


def _png_bytes(columns: int, rows: int, bits: int, *, woven: bool) -> int:
    """Inflated length: one filter byte a row, and seven passes where the picture is woven (Adam7)."""
    passes = ADAM7 if woven else ((0, 0, 1, 1),)
    sizes = ((-((x - columns) // dx), -((y - rows) // dy)) for x, y, dx, dy in passes)
    return sum(high * (1 + (wide * bits + 7) // 8) for wide, high in sizes if wide > 0 and high > 0)


def _inflated(file: io.BufferedReader, chunks: list[_Chunk], most: int) -> int:
    """Bytes that IDAT chunks inflate to, at most a piece more than `most`; 0 where they are damaged."""
    inflater, count = zlib.decompressobj(), 0
    try:
        for chunk in chunks:
            file.seek(chunk.place)
            left = chunk.length
            while left and count <= most:
                piece = file.read(min(left, 1 << 16))
                left -= len(piece)
                while piece and count <= most:
                    count += len(inflater.decompress(piece, 1 << 22))
                    piece = inflater.unconsumed_tail
    except zlib.error:
        return 0
    return count


def _tiff(path: Path) -> _Picture:
    """The tags of its pages, read in the decoder process."""
    kept: list[dict[str, Any]] = []
    decode({"do": "tiff-header"}, files=[path], take=lambda fields, _: kept.append(fields))
    page = kept[0]
    fault = _tiff_fault(page, path.stat().st_size)
    if fault:
        raise InputError(f"{path.name}: {fault}")
    size = page["size"]
    own = page["compression"] in OWN_COMPRESSIONS
    request = {"do": "tiff", "pages": page["pages"]} if own else {"do": "itk", "image_io": "TIFFImageIO"}
    channels = size[2] if len(size) == 3 else 1
    dtype = "uint16" if page["bits"] == 16 else "uint8"
    slices = len(page["pages"])
    unnamed = page["stacked"] and page["stacked"][0][0] != "Z"
    taken_for = (f"{slices} pages without a name: taken for slices",) if unnamed else ()
    return _Picture("TIFF", size[1], size[0], channels, dtype, request, slices, taken_for)


def _tiff_fault(page: dict[str, Any], length: int) -> str:
    """What forbids reading the pages; empty where nothing does."""
    stored, needed = page["byte_counts"]
    plain = (
        page["axes"] in ("YX", "YXS") and page["colours"] in ("MINISBLACK", "RGB") and len(page["size"]) < 4
    )
    unsigned = page["kind"] in ("|u1", "<u2", ">u2", "|b1") and page["bits"] in (1, 8, 16)
    faults = (
        (not page["alike"], f"a TIFF of {len(page['pages'])} pages that differ; give a single picture"),
        (not _is_stack(page), f"a TIFF of {_stacked_words(page)}; give one picture, or one stack of slices"),
        (not plain, f"a TIFF with colours {page['colours']} and axes {page['axes']}; grey and RGB are read"),
        (
            not unsigned,
            f"a TIFF of {page['bits']} bits, type {page['kind']}; 8 and 16 bits unsigned are read",
        ),
        (
            page["orientation"] != 1,
            f"a TIFF to be turned (orientation {page['orientation']}); save it upright",
        ),
        (
            page["last_byte"] > length,
            f"truncated: its pixels reach byte {page['last_byte']}, the file has {length}",
        ),
        (
            page["compression"] == "NONE" and page["bits"] > 1 and stored < needed,
            f"truncated: {needed} bytes of pixels are needed, {stored} are stored",
        ),
    )
    return next((words for wrong, words in faults if wrong), "")


def _is_stack(page: dict[str, Any]) -> bool:
    """Whether there is one page, or grey slices: pages that are named so, or many without a name."""
    if not page["stacked"]:
        return True
    (axis, count), *others = page["stacked"]
    return not others and axis in SLICES and page["axes"] == "YX" and (axis == "Z" or count > MOST_UNSURE)


def _stacked_words(page: dict[str, Any]) -> str:
    """As "3 channels x 20 slices"."""
    colours = "" if page["axes"] == "YX" else " in colours"
    words = " x ".join(f"{size} {STACKED.get(axis, 'pages')}" for axis, size in page["stacked"]) + colours
    few = len(page["stacked"]) == 1 and page["stacked"][0][0] in SLICES and not colours
    return f"{words} that nothing says are slices" if few else words
