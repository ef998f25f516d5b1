"""Where the pixels of a DICOM file are: native bytes, or fragments of a compressed stream (PS3.5 A.4)."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from medseg.io.child.reply import RefusedError

__all__ = ["UNDEFINED", "Element", "element_at", "fragments_at"]

UNDEFINED = 0xFFFFFFFF
KINDS = {(0x7FE0, 0x0010): "integer", (0x7FE0, 0x0008): "float", (0x7FE0, 0x0009): "float"}
ITEM, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
MOST_FRAGMENTS = 1_000_000  # one frame seldom has more than one; a fragment has at least 8 bytes


class Element(NamedTuple):
    """The pixel data element: "integer" or "float", where its value starts and how long it claims to be."""

    kind: str
    start: int
    length: int
    """Bytes; UNDEFINED for fragments."""
    words: bool
    """Whether its value is written in words of two bytes (OW), which big endian turns around."""


def element_at(file: BinaryIO, *, little: bool, implicit: bool) -> Element | None:
    """The pixel data element that starts here; None if there is another one or the file ends."""
    here = file.tell()
    order = "<" if little else ">"
    head = file.read(12)
    if len(head) < 12:
        return None
    kind = KINDS.get(struct.unpack(order + "HH", head[:4]))
    if kind is None:
        return None
    length = struct.unpack(order + "I", head[4:8] if implicit else head[8:12])[0]
    return Element(kind, here + (8 if implicit else 12), length, implicit or head[4:6] == b"OW")


def fragments_at(file: BinaryIO, start: int, size: int) -> list[tuple[int, int]]:
    """Start and length of each fragment that is whole, without the offset table, which may lie.

    `start` is where the value of the pixel data starts, `size` the length of the file.
    """
    found: list[tuple[int, int]] = []
    file.seek(start)
    while len(head := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", head)
        here = file.tell()
        if (group, element) == SEQUENCE_END:
            break
        if (group, element) != ITEM or length == UNDEFINED:
            raise RefusedError(
                "its compressed pixel data is damaged: a fragment does not start where it should"
            )
        if here + length > size:
            break
        found.append((here, length))
        if len(found) > MOST_FRAGMENTS:
            raise RefusedError(f"its compressed pixel data has more than {MOST_FRAGMENTS} fragments")
        file.seek(here + length)
    return found[1:]
