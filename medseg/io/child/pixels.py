"""Stored pixel values of DICOM files in the decoder process, before any rescale."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.bits import cleaned, within
from medseg.io.child.codecs import BIG_ENDIAN, DEFLATED, RLE, Stored, decoded_frame, ends_stream, is_native
from medseg.io.child.dicom import START, guessed_syntax, refuse_deflate_bomb
from medseg.io.child.pixel_data import UNDEFINED, element_at, fragments_at
from medseg.io.child.read_ahead import read_ahead
from medseg.io.child.reply import RefusedError, Reply

__all__ = ["dicom_pixels"]

AHEAD = 2  # files read and hashed while one is decoded or sent
TAGS = """
    Rows Columns NumberOfFrames SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation
""".split()  # noqa: SIM905
OVERLAY_TAGS = tuple((group << 16) + 0x0102 for group in range(0x6000, 0x6020, 2))  # Overlay Bit Position


def dicom_pixels(request: dict[str, Any]) -> Iterator[Reply]:
    """Stored values `[rows, columns]` of each file, or of each asked frame of it, and the file's sha256.

    "frames" holds, for each file, None for the only image of it or a list of frames from 0 on. A reply's
    "notes" say what was done to its bits. A file is read as a whole: memory is its size, twice that of a
    deflated one, for AHEAD files at a time, and one decoded frame.
    """
    asked = request.get("frames") or [None] * len(request["files"])
    for (data, digest), frames in zip(read_ahead(_loaded, request["files"], AHEAD), asked, strict=True):
        image = _Image(data)
        for frame in (0,) if frames is None else frames:
            values, notes = image.values(frame)
            yield {"sha256": digest, "notes": notes}, values


def _loaded(path: str) -> tuple[bytes, str]:
    data = Path(path).read_bytes()
    return data, hashlib.sha256(data).hexdigest()


class _Image:
    """One file: what its header says of its pixels, and where each frame is."""

    def __init__(self, data: bytes) -> None:
        from pydicom import dcmread

        file = io.BytesIO(data)
        self.data = data
        if DEFLATED.encode() in data[:START]:
            refuse_deflate_bomb(file)
            file.seek(0)
        wanted: list[Any] = [*TAGS, *OVERLAY_TAGS]
        dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=wanted)
        self.syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or guessed_syntax(dataset))
        try:
            self.stored = _stored(dataset)
            self.frames = int(dataset.get("NumberOfFrames") or 1)
            self.overlays = _overlay_bits(dataset)
        except (AttributeError, TypeError, ValueError) as problem:
            raise RefusedError("its header does not say how its pixels are stored") from problem
        self.fragments: list[list[tuple[int, int]]] | None = None
        if self.syntax == DEFLATED:
            self.data, self.start = _inflated_pixels(file), 0
            self.length = len(self.data)
        else:
            self._find(file, dataset)

    def _find(self, file: io.BytesIO, dataset: Any) -> None:
        """Where the values, or the fragments of the compressed stream, are."""
        implicit, little = dataset.original_encoding
        element = element_at(file, little=little is not False, implicit=bool(implicit))
        if element is None or element.kind != "integer":
            raise RefusedError("its pixel data is missing or cut off")
        if is_native(self.syntax) == (element.length == UNDEFINED):
            raise RefusedError("its pixel data is not stored as its transfer syntax says")
        self.start = element.start
        self.length = min(element.length, len(self.data) - element.start)
        if element.length == UNDEFINED:
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

    def values(self, frame: int) -> tuple[NDArray[Any], list[str]]:
        """Stored values `[rows, columns]` of one frame, from 0, and what was done to their bits."""
        if not 0 <= frame < self.frames:
            raise RefusedError(f"it has no frame {frame + 1}")
        if self.fragments is None:
            return cleaned(self._native(frame), self.stored, self.overlays)
        stream = b"".join(self.data[start : start + length] for start, length in self.fragments[frame])
        values = decoded_frame(stream, self.syntax, self.stored)
        if self.syntax == RLE:  # whole cells, as they would be without it
            return cleaned(values, self.stored, self.overlays)
        return within(values, self.stored), []

    def _native(self, frame: int) -> NDArray[Any]:
        stored = self.stored
        count = stored.rows * stored.columns
        start = frame * count * stored.dtype.itemsize
        if start + count * stored.dtype.itemsize > self.length:
            raise RefusedError("its pixel data is missing or cut off")
        dtype = stored.dtype.newbyteorder(">" if self.syntax == BIG_ENDIAN else "<")
        return np.frombuffer(self.data, dtype, count, self.start + start).reshape(stored.rows, stored.columns)


def _stored(dataset: Any) -> Stored:
    bits = int(dataset.BitsStored)
    high = dataset.get("HighBit")
    stored = Stored(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        allocated=int(dataset.BitsAllocated),
        stored=bits,
        high_bit=bits - 1 if high is None else int(high),
        signed=bool(dataset.PixelRepresentation),
    )
    if min(stored.rows, stored.columns) < 1 or stored.allocated not in (8, 16, 32):
        raise ValueError
    if not 0 < stored.stored <= stored.high_bit + 1 <= stored.allocated:
        raise ValueError
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise ValueError
    return stored


def _overlay_bits(dataset: Any) -> int:
    """The bits of a pixel's cell that the header gives to overlays, as a mask."""
    mask = 0
    for tag in OVERLAY_TAGS:
        place = dataset[tag].value if tag in dataset else None
        if place is not None and 0 < int(place) < 32:
            mask |= 1 << int(place)
    return mask


def _inflated_pixels(file: io.BytesIO) -> bytes:
    from pydicom import dcmread

    file.seek(0)
    dataset = dcmread(file, force=True, specific_tags=["PixelData"])
    value = dataset.get("PixelData")
    if not isinstance(value, bytes):
        raise RefusedError("its pixel data is missing or cut off")
    return value
