"""Label names and colours in NIfTI header extensions, in the XML that Connectome Workbench reads.

A `CaretExtension` with a `LabelTable`, twice: Workbench looks for extension code 30; TotalSegmentator writes
code 0 and reads the first extension, and fails on 30 (as nibabel's `get_content` does from 5.3 on).

Whose objects values are stands in a comment between them, which other programs pass over:
`{"medseg objects": {"nucleus": [1, 2, [5, 9]]}}` is 1, 2 and 5 to 9.
"""

import json
import logging
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.io.colours import colours_of
from medseg.io.nifti_header import layout
from medseg.io.nifti_stream import MOST_EXTENSION_BYTES, exactly, opened
from medseg.segmentation import LabelTable

__all__ = ["extensions", "label_names", "label_objects", "read_label_names", "read_label_objects"]

logger = logging.getLogger(__name__)

ECODES = (0, 30)  # "ignore" and NIFTI_ECODE_CARET
COMMENT = 6  # NIFTI_ECODE_COMMENT, plain text
OBJECTS = "medseg objects"
MOST_BYTES = MOST_EXTENSION_BYTES - (1 << 22)  # of one: the names of all take less than the rest
MOST_VALUE = (1 << 32) - 1  # uint32, the largest type a layer has
FEW = 1 << 16  # objects that a file may tell of beside those it has voxels for
MOST_NAMED = 10_000  # objects: of more, names would take many times the voxels, and tell nothing


def read_label_names(path: Path) -> dict[int, str]:
    """Label names by value from the file's header extension; empty where it has none."""
    told, order, _ = _told(path)
    return label_names(told, order)


def read_label_objects(path: Path) -> dict[str, tuple[int, ...]]:
    """Ids by the label whose objects they are, from the header extension; empty where values are labels."""
    told, order, voxels = _told(path)
    return label_objects(told, order, most=voxels + FEW)


def _told(path: Path) -> tuple[bytes, str, int]:
    """The bytes between header and voxels, the byte order, and how many voxels there are."""
    with opened(path) as file:
        wanted = layout(file.header, file.name)
        length = wanted.offset - file.position
        told = file.told or exactly(file.stream, min(length, MOST_EXTENSION_BYTES))
        return told, file.header.endianness, wanted.voxel_bytes // wanted.dtype.itemsize


def extensions(labels: LabelTable, objects: Mapping[str, Sequence[int]] | None = None) -> bytes:
    """The header extensions that name these labels: each size, code and XML, to a multiple of 16 bytes.

    `objects`, ids by the label whose objects they are, adds a comment that says so; of more than 10,000 none
    is named. Where it would be larger than a reader takes, for which it needs millions of objects of several
    labels, it is left out, with a warning.
    """
    named = labels if sum(map(len, (objects or {}).values())) <= MOST_NAMED else LabelTable(())
    root = ET.Element("CaretExtension")
    information = ET.SubElement(root, "VolumeInformation", Index="0")
    table = ET.SubElement(information, "LabelTable")
    colours = colours_of(named)
    for label in named:
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
    runs = {name: _runs(ids) for name, ids in objects.items()}
    told = json.dumps({OBJECTS: runs}, separators=(",", ":"))
    if len(told) > MOST_BYTES:
        logger.warning(
            "whose objects the values are takes %d MiB in a NIfTI header, more than %d, and is left out",
            len(told) >> 20,
            MOST_BYTES >> 20,
        )
        return first + second
    return first + _extension(told.encode("ascii"), COMMENT) + second


def _runs(ids: Sequence[int]) -> list[int | list[int]]:
    """Ascending ids, each run of at least three as its first and last."""
    numbers = np.unique(np.asarray(ids, np.int64))
    found: list[int | list[int]] = []
    for run in np.split(numbers, 1 + np.flatnonzero(np.diff(numbers) != 1)):
        found += [[int(run[0]), int(run[-1])]] if len(run) > 2 else run.tolist()
    return found


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


def label_objects(region: bytes, byte_order: str, *, most: int) -> dict[str, tuple[int, ...]]:
    """Ids by the label whose objects they are, from the same bytes; empty where the values are labels.

    A label may have no objects. What is not as `extensions` writes it tells nothing, nor do more than `most`
    ids, as many as the file has voxels.
    """
    for code, content in _contents(region, byte_order):
        objects = _objects(content, most) if code == COMMENT else {}
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


def _objects(content: bytes, most: int) -> dict[str, tuple[int, ...]]:
    """A table in which no id is twice; anything else is none."""
    text = content.strip(b"\0")
    if not text.startswith(b'{"' + OBJECTS.encode()) or len(text) > MOST_BYTES:
        return {}
    if text.count(b",") > 2 * most + FEW:  # before anything is made of each
        return {}
    try:
        told = json.loads(text)[OBJECTS]
        objects: dict[str, tuple[int, ...]] = {}
        for name, own in told.items():
            objects[name] = _expanded(own, most)
            most -= len(objects[name])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    every = [number for ids in objects.values() for number in ids]
    return objects if all(objects) and len(set(every)) == len(every) else {}


def _expanded(told: Sequence[Any], most: int) -> tuple[int, ...]:
    """Ids, and of two in a list all between; raises ValueError for more, or anything else."""
    found: list[int] = []
    for each in told:
        first, last = each if isinstance(each, list) else (each, each)
        if type(first) is not int or type(last) is not int or not 1 <= first <= last <= MOST_VALUE:
            raise ValueError(each)
        if len(found) + last - first >= most:
            raise ValueError(most)
        if first == last:
            found.append(first)
        else:
            found.extend(range(first, last + 1))
    return tuple(found)


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
