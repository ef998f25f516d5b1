"""What a file is, by its first bytes and by its name."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PEEK_BYTES", "by_content", "by_name", "counted", "seen", "suffixes"]

PEEK_BYTES = 4096
SUFFIXES = {
    ".nii": "NIfTI",
    ".nii.gz": "gzip",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".ima": "DICOM",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".zip": "a zip archive",
    ".tar": "a tar archive",
    ".tar.gz": "a tar.gz archive",
    ".tgz": "a tar.gz archive",
}
MAGIC = (
    (128, b"DICM", "DICOM"),  # first: what stands before it may be anything, even a TIFF header
    (0, b"\x1f\x8b", "gzip"),
    (0, b"NRRD000", "NRRD"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
    (4, b"n+2\0", "NIfTI"),
    (4, b"ni2\0", "NIfTI"),
    (0, (348).to_bytes(4, "little"), "NIfTI"),
    (0, (348).to_bytes(4, "big"), "NIfTI"),
    (0, (540).to_bytes(4, "little"), "NIfTI"),
    (0, (540).to_bytes(4, "big"), "NIfTI"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "a zip archive"),  # an empty one
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF", "PDF"),
)
# data sets without a preamble: byte order, and whether elements name their type
ENCODINGS = (("<", True), ("<", False), (">", True))
GROUPS = (0x0002, 0x0008)  # file meta information, identification: what a data set starts with
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # types with four bytes of length
TYPES = LONG | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LEAST_ELEMENTS = 2  # that must follow each other before bytes count as a data set
OPEN = 0xFFFFFFFF


def by_content(start: bytes) -> str:
    """What the first bytes say: a format's name, or words for what is not an image."""
    for offset, magic, kind in MAGIC:
        if start[offset : offset + len(magic)] == magic:
            return kind
    if any(_is_data_set(start, order, typed=typed) for order, typed in ENCODINGS):
        return "DICOM"
    try:
        # MetaImage: text up to ElementDataFile, then voxels; a peek may end within a character
        head = start.partition(b"\nElementDataFile")[0]
        text = head[: max(1, len(head) - 3)].decode("utf-8")
    except UnicodeDecodeError:
        return "unknown data"
    if any(not c.isprintable() and not c.isspace() for c in text):
        return "unknown data"
    keys = {line.partition("=")[0].strip() for line in text.splitlines()}
    return "MetaImage" if {"NDims", "DimSize"} <= keys else "text"


def _is_data_set(start: bytes, order: str, *, typed: bool) -> bool:
    """Whether bytes start with two DICOM elements, whose tags grow and whose lengths are even.

    `typed` says that they name their type (explicit VR).
    """
    place, before, elements = 0, (0, 0), 0
    while elements < LEAST_ELEMENTS and place + 12 <= len(start):
        tag = struct.unpack_from(order + "HH", start, place)
        if tag <= before or (elements == 0 and tag[0] not in GROUPS) or tag[0] > 0x7FE0:
            return False
        if typed and start[place + 4 : place + 6] not in TYPES:
            return False
        length, value = _value(start, place, order, typed=typed)
        if length != OPEN and length % 2:
            return False
        elements, before = elements + 1, tag
        if length == OPEN:  # a sequence
            return elements > 1
        place = value + length
    return elements == LEAST_ELEMENTS


def _value(start: bytes, place: int, order: str, *, typed: bool) -> tuple[int, int]:
    """Length and place of the value of the element at `place`."""
    if not typed:
        return struct.unpack_from(order + "I", start, place + 4)[0], place + 8
    if start[place + 4 : place + 6] in LONG:
        return struct.unpack_from(order + "I", start, place + 8)[0], place + 12
    return struct.unpack_from(order + "H", start, place + 6)[0], place + 8


def by_name(path: Path) -> tuple[str, str] | None:
    """The name's extension and the format it stands for; None where it stands for none."""
    name = path.name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix, SUFFIXES[suffix]
    return None


def suffixes(kind: str) -> str:
    """The extensions that files of a format have."""
    return " or ".join(suffix for suffix, format_ in SUFFIXES.items() if format_ == kind)


def seen(path: Path, start: bytes) -> str:
    """What to call a file that lies where DICOM was expected: a compressed one is what its name says."""
    named, held = by_name(path), by_content(start)
    if held != "gzip" or named is None:
        return held
    return {".nii.gz": "NIfTI", ".tgz": named[1], ".tar.gz": named[1]}.get(named[0], held)


def counted(kinds: Mapping[str, int]) -> str:
    """Kinds of files in words, the most frequent first: "3 NIfTI files, 1 text file"."""
    words = []
    for kind, number in Counter(kinds).most_common():
        plain = "other" if kind == "unknown data" else kind.removeprefix("a ")
        noun = plain if plain.endswith("archive") else f"{plain} file"
        words.append(f"{number} {noun}{'' if number == 1 else 's'}")
    return ", ".join(words)
