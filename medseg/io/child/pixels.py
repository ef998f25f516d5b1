"""Stored pixel values of DICOM files in the decoder process, before any rescale."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.bits import Cleaned, cleaned, within
from medseg.io.child.codecs import BIG_ENDIAN, DEFLATED, RLE, Stored, decoded_frame, ends_stream, is_native
from medseg.io.child.dicom import Layout, layout_of
from medseg.io.child.pixel_data import UNDEFINED, Element, fragments_at
from medseg.io.child.read_ahead import read_ahead
from medseg.io.child.reply import RefusedError, Reply

__all__ = ["dicom_pixels"]

AHEAD = 2  # files read and hashed while one is decoded or sent


def dicom_pixels(request: dict[str, Any]) -> Iterator[Reply]:
    """Stored values `[rows, columns]` of each file, or of each asked frame of it, and the file's sha256.

    "frames" holds, for each file, None for the only image of it or a list of frames from 0 on. A reply's
    "notes" say what was done to its bits, "unexplained" whether some mean nothing. A file is read as a whole:
    memory is its size, twice that of a deflated one, for AHEAD files at a time, and one decoded frame.
    """
    asked = request.get("frames") or [None] * len(request["files"])
    files = request["files"]
    loaded = read_ahead(_loaded, files, AHEAD)
    for path, (data, state, digest), frames in zip(files, loaded, asked, strict=True):
        image = _Image(data, layout_of(path, state, data))
        for frame in (0,) if frames is None else frames:
            values, notes, unexplained = image.values(frame)
            yield {"sha256": digest, "notes": notes, "unexplained": unexplained}, values


def _loaded(path: str) -> tuple[bytes, os.stat_result, str]:
    with Path(path).open("rb") as file:
        state = os.fstat(file.fileno())
        data = file.read()
    return data, state, hashlib.sha256(data).hexdigest()


class _Image:
    """One file: what its header says of its pixels, and where each frame is."""

    def __init__(self, data: bytes, layout: Layout) -> None:
        self.data = data
        self.syntax = str(layout.values["TransferSyntaxUID"])
        try:
            self.stored = _stored(layout.values)
            self.frames = _number(layout.values, "NumberOfFrames", 1)
        except ValueError as problem:
            raise RefusedError("its header does not say how its pixels are stored") from problem
        self.overlays = layout.overlays
        self.fragments: list[list[tuple[int, int]]] | None = None
        if self.syntax == DEFLATED:
            self.data, self.start = _inflated_pixels(data), 0
            self.length = len(self.data)
        else:
            self._find(layout.element)

    def _find(self, element: Element | None) -> None:
        """Where the values, or the fragments of the compressed stream, are."""
        if element is None or element.kind != "integer":
            raise RefusedError("its pixel data is missing or cut off")
        if is_native(self.syntax) == (element.length == UNDEFINED):
            raise RefusedError("its pixel data is not stored as its transfer syntax says")
        self.start = element.start
        self.length = min(element.length, len(self.data) - element.start)
        if element.length == UNDEFINED:
            file = io.BytesIO(self.data)
            self.fragments = self._grouped(fragments_at(file, element.start, len(self.data)))
        elif self.syntax == BIG_ENDIAN and self.stored.allocated == 8 and element.words:
            words = np.frombuffer(self.data, ">u2", self.length // 2, self.start)
            self.data, self.start = words.astype("<u2").tobytes(), 0

    def _grouped(self, fragments: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """The fragments of each frame: one each, or all of them for a single frame, or by end markers.

        Offset tables are not used: where they agree with this they say nothing new, and where not they lie.
        """
        if len(fragments) < self.frames:
            raise RefusedError(
                f"its pixel data is cut off: {self.frames} frames are claimed, {len(fragments)} are there"
            )
        if self.frames == 1:
            return [fragments]
        if len(fragments) == self.frames:
            return [[fragment] for fragment in fragments]
        grouped: list[list[tuple[int, int]]] = [[]]
        for start, length in fragments:
            grouped[-1].append((start, length))
            if ends_stream(self.data[max(start, start + length - 3) : start + length]):
                grouped.append([])
        if len(grouped) != self.frames + 1 or grouped[-1]:
            raise RefusedError("its pixel data cannot be decoded: its fragments do not make up its frames")
        return grouped[:-1]

    def values(self, frame: int) -> Cleaned:
        """Stored values `[rows, columns]` of one frame, from 0, and what was done to their bits."""
        if not 0 <= frame < self.frames:
            raise RefusedError(f"it has no frame {frame + 1}")
        if self.fragments is None:
            return cleaned(self._native(frame), self.stored, self.overlays)
        stream = b"".join(self.data[start : start + length] for start, length in self.fragments[frame])
        values = decoded_frame(stream, self.syntax, self.stored)
        if self.syntax == RLE:  # whole cells, as they would be without it
            return cleaned(values, self.stored, self.overlays)
        return Cleaned(within(values, self.stored), [])

    def _native(self, frame: int) -> NDArray[Any]:
        stored = self.stored
        count = stored.rows * stored.columns
        start = frame * count * stored.dtype.itemsize
        if start + count * stored.dtype.itemsize > self.length:
            raise RefusedError("its pixel data is missing or cut off")
        dtype = stored.dtype.newbyteorder(">" if self.syntax == BIG_ENDIAN else "<")
        return np.frombuffer(self.data, dtype, count, self.start + start).reshape(stored.rows, stored.columns)


def _stored(values: dict[str, Any]) -> Stored:
    bits = _number(values, "BitsStored")
    stored = Stored(
        rows=_number(values, "Rows"),
        columns=_number(values, "Columns"),
        allocated=_number(values, "BitsAllocated"),
        stored=bits,
        high_bit=_number(values, "HighBit", bits - 1),
        signed=bool(_number(values, "PixelRepresentation")),
    )
    if min(stored.rows, stored.columns) < 1 or stored.allocated not in (8, 16, 32):
        raise ValueError
    if not 0 < stored.stored <= stored.high_bit + 1 <= stored.allocated:
        raise ValueError
    if _number(values, "SamplesPerPixel", 1) != 1:
        raise ValueError
    return stored


def _number(values: dict[str, Any], keyword: str, default: int | None = None) -> int:
    """A whole number; ValueError for anything else, or where it is missing and has no default."""
    value = values.get(keyword)
    if value is None and default is not None:
        return default
    if not isinstance(value, int):
        raise ValueError(keyword)  # noqa: TRY004  # of a file, not of a caller
    return value


def _inflated_pixels(data: bytes) -> bytes:
    from pydicom import dcmread

    # that it stays within reason was seen when its header was read
    dataset = dcmread(io.BytesIO(data), force=True, specific_tags=["PixelData"])
    value = dataset.get("PixelData")
    if not isinstance(value, bytes):
        raise RefusedError("its pixel data is missing or cut off")
    return value
