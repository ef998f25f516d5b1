"""Label names and colours in NIfTI header extensions, in the XML that Connectome Workbench reads.

A `CaretExtension` with a `LabelTable`, twice: Workbench looks for extension code 30; TotalSegmentator writes
code 0 and reads the first extension, and fails on 30 (as nibabel's `get_content` does from 5.3 on).
"""

import colorsys
import struct
import xml.etree.ElementTree as ET

from medseg.segmentation import Label, LabelTable

__all__ = ["extensions", "label_names"]

ECODES = (0, 30)  # "ignore" and NIFTI_ECODE_CARET
MOST_BYTES = 1 << 24
GOLDEN_TURN = 0.618033988749895  # successive hues this far apart stay distinct however many there are


def extensions(labels: LabelTable) -> bytes:
    """The header extensions that name these labels: each size, code and XML, to a multiple of 16 bytes."""
    root = ET.Element("CaretExtension")
    information = ET.SubElement(root, "VolumeInformation", Index="0")
    table = ET.SubElement(information, "LabelTable")
    for label in labels:
        red, green, blue = (f"{part:.4f}" for part in _colour(label))
        entry = ET.SubElement(
            table, "Label", Key=str(label.value), Red=red, Green=green, Blue=blue, Alpha="1"
        )
        entry.text = "".join(c if c.isprintable() else " " for c in label.name)  # XML has no control codes
    ET.SubElement(information, "StudyMetaDataLinkSet")
    ET.SubElement(information, "VolumeType").text = "Label"
    text: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    size = -(-(8 + len(text)) // 16) * 16
    return b"".join(struct.pack("<ii", size, code) + text.ljust(size - 8, b"\0") for code in ECODES)


def label_names(region: bytes, byte_order: str) -> dict[int, str]:
    """Names by label value from the bytes between header and voxels; empty where none are told.

    Extensions that are cut, are of another kind or are no sound XML tell nothing: names are a convenience.
    """
    position = 4
    while region[:1] not in {b"", b"\0"} and position + 8 <= len(region):
        size, code = struct.unpack_from(f"{byte_order}ii", region, position)
        if size < 16 or position + size > len(region):
            break
        names = _names(region[position + 8 : position + size]) if code in ECODES else {}
        if names:
            return names
        position += size
    return {}


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


def _colour(label: Label) -> tuple[float, float, float]:
    """Red, green and blue from 0 to 1: the label's own, or one told apart from its neighbours'."""
    if label.colour is None:
        return colorsys.hsv_to_rgb(label.value * GOLDEN_TURN % 1, 0.65, 0.9)
    red, green, blue = bytes.fromhex(label.colour.removeprefix("#"))
    return red / 255, green / 255, blue / 255
