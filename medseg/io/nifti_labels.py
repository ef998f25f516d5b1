"""Label names and colours in NIfTI header extensions, in the XML that Connectome Workbench reads.

A `CaretExtension` with a `LabelTable`, twice: Workbench looks for extension code 30; TotalSegmentator writes
code 0 and reads the first extension, and fails on 30 (as nibabel's `get_content` does from 5.3 on).

Whose objects values are stands in a comment between them, which other programs pass over:
`{"medseg objects": {"nucleus": [1, 2, 3]}}`.
"""

import json
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medseg.io.colours import colours_of
from medseg.io.nifti_header import layout
from medseg.io.nifti_stream import MOST_EXTENSION_BYTES, exactly, opened
from medseg.segmentation import LabelTable

__all__ = ["extensions", "label_names", "label_objects", "read_label_names", "read_label_objects"]

ECODES = (0, 30)  # "ignore" and NIFTI_ECODE_CARET
COMMENT = 6  # NIFTI_ECODE_COMMENT, plain text
OBJECTS = "medseg objects"
MOST_BYTES = 1 << 24


def read_label_names(path: Path) -> dict[int, str]:
    """Label names by value from the file's header extension; empty where it has none."""
    return label_names(*_told(path))


def read_label_objects(path: Path) -> dict[str, tuple[int, ...]]:
    """Ids by the label whose objects they are, from the header extension; empty where values are labels."""
    return label_objects(*_told(path))


def _told(path: Path) -> tuple[bytes, str]:
    """The bytes between header and voxels, and the byte order."""
    with opened(path) as file:
        length = layout(file.header, file.name).offset - file.position
        told = file.told or exactly(file.stream, min(length, MOST_EXTENSION_BYTES))
        return told, file.header.endianness


def extensions(labels: LabelTable, objects: Mapping[str, Sequence[int]] | None = None) -> bytes:
    """The header extensions that name these labels: each size, code and XML, to a multiple of 16 bytes.

    `objects`, ids by the label whose objects they are, adds a comment that says so.
    """
    root = ET.Element("CaretExtension")
    information = ET.SubElement(root, "VolumeInformation", Index="0")
    table = ET.SubElement(information, "LabelTable")
    colours = colours_of(labels)
    for label in labels:
        red, green, blue = (f"{part:.4f}" for part in _rgb(colours[label.name]))
        entry = ET.SubElement(
            table, "Label", Key=str(label.value), Red=red, Green=green, Blue=blue, Alpha="1"
        )
        entry.text = "".join(c if c.isprintable() else " " for c in label.name)  # XML has no control codes
    ET.SubElement(information, "StudyMetaDataLinkSet")
    ET.SubElement(information, "VolumeType").text = "Label"
    text: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    first, second = (_extension(text, code) for code in ECODES)
    if not objects:
        return first + second
    told = json.dumps({OBJECTS: {name: list(ids) for name, ids in objects.items()}}, separators=(",", ":"))
    return first + _extension(told.encode("ascii"), COMMENT) + second


def _extension(content: bytes, code: int) -> bytes:
    size = -(-(8 + len(content)) // 16) * 16
    return struct.pack("<ii", size, code) + content.ljust(size - 8, b"\0")


def label_names(region: bytes, byte_order: str) -> dict[int, str]:
    """Names by label value from the bytes between header and voxels; empty where none are told.

    Extensions that are cut, are of another kind or are no sound XML tell nothing: names are a convenience.
    """
    for code, content in _contents(region, byte_order):
        names = _names(content) if code in ECODES else {}
        if names:
            return names
    return {}


def label_objects(region: bytes, byte_order: str) -> dict[str, tuple[int, ...]]:
    """Ids by the label whose objects they are, from the same bytes; empty where the values are labels.

    A label may have no objects. What is not as `extensions` writes it tells nothing.
    """
    for code, content in _contents(region, byte_order):
        objects = _objects(content) if code == COMMENT else {}
        if objects:
            return objects
    return {}


def _contents(region: bytes, byte_order: str) -> Iterator[tuple[int, bytes]]:
    """Code and content of each extension, up to the first that is cut."""
    position = 4
    while region[:1] not in {b"", b"\0"} and position + 8 <= len(region):
        size, code = struct.unpack_from(f"{byte_order}ii", region, position)
        if size < 16 or position + size > len(region):
            return
        yield code, region[position + 8 : position + size]
        position += size


def _objects(content: bytes) -> dict[str, tuple[int, ...]]:
    """A table in which no id is twice; anything else is none."""
    text = content.strip(b"\0")
    if not text.startswith(b'{"' + OBJECTS.encode()) or len(text) > MOST_BYTES:
        return {}
    try:
        told = json.loads(text)[OBJECTS]
        objects = {name: tuple(ids) for name, ids in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    every = [number for ids in objects.values() for number in ids]
    sound = all(type(number) is int and number > 0 for number in every) and all(objects)
    return objects if sound and len(set(every)) == len(every) else {}


def _names(content: bytes) -> dict[int, str]:
    text = content.strip(b"\0")
    # An XML without a document type has no entities to expand, which is what makes XML of strangers unsafe.
    if b"CaretExtension" not in text or b"<!DOCTYPE" in text or len(text) > MOST_BYTES:
        return {}
    try:
        root = ET.fromstring(text)  # noqa: S314  # see above
        return {int(entry.attrib["Key"]): (entry.text or "").strip() for entry in root.iter("Label")}
    except (ET.ParseError, KeyError, ValueError):
        return {}


def _rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue from 0 to 1."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red / 255, green / 255, blue / 255
