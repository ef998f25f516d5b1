"""Label names in header extensions: written for others to read, read from whatever others wrote."""

import struct
import tracemalloc
import xml.etree.ElementTree as ET

import pytest

from medseg.io.nifti_labels import extensions, label_names, label_objects
from medseg.segmentation import Label, LabelTable

TABLE = LabelTable((Label(1, "liver", colour="#ff0000"), Label(300, "a & b < c\x07")))
START = b"\1\0\0\0"


def region(content: bytes, code: int = 0, size: int | None = None, order: str = "<") -> bytes:
    padded = content.ljust(-(-(len(content) + 8) // 16) * 16 - 8, b"\0")
    return START + struct.pack(f"{order}ii", len(padded) + 8 if size is None else size, code) + padded


def xml(labels: str) -> bytes:
    return f"<CaretExtension><LabelTable>{labels}</LabelTable></CaretExtension>".encode()


def test_names_survive_markup_and_control_codes() -> None:
    assert label_names(START + extensions(TABLE), "<") == {1: "liver", 300: "a & b < c"}


def test_both_extensions_are_whole_and_hold_the_same_table() -> None:
    content, position, seen = extensions(TABLE), 0, []
    while position < len(content):
        size, code = struct.unpack_from("<ii", content, position)
        assert size % 16 == 0
        root = ET.fromstring(content[position + 8 : position + size].strip(b"\0"))  # noqa: S314  # our own
        red = next(root.iter("Label")).attrib
        assert (red["Key"], red["Red"], red["Green"], red["Alpha"]) == ("1", "1.0000", "0.0000", "1")
        seen.append(code)
        position += size
    assert seen == [0, 30]


def test_labels_without_a_colour_get_distinct_ones() -> None:
    content = extensions(LabelTable(tuple(Label(n, f"label {n}") for n in range(1, 41))))
    root = ET.fromstring(content[8 : struct.unpack_from("<i", content)[0]].strip(b"\0"))  # noqa: S314  # our own
    assert len({(e.attrib["Red"], e.attrib["Green"], e.attrib["Blue"]) for e in root.iter("Label")}) == 40


@pytest.mark.parametrize("order", ["<", ">"])
def test_other_extensions_are_passed_over(order: str) -> None:
    other = region(b"a comment", code=6, order=order)
    table = region(xml('<Label Key="7"><![CDATA[spleen]]></Label>'), code=30, order=order)
    assert label_names(other + table[4:], order) == {7: "spleen"}


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa">]>' + xml('<Label Key="1">&a;</Label>')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\0",
        START,
        START + b"\x10",
        region(BOMB),
        region(xml("<Label>no key</Label>")),
        region(xml('<Label Key="seven">x</Label>')),
        region(b"<CaretExtension><unclosed>"),
        region(xml('<Label Key="1">x</Label>'), size=0),
        region(xml('<Label Key="1">x</Label>'), size=-16),
        region(xml('<Label Key="1">x</Label>'), size=1 << 30),
        region(xml('<Label Key="1">x</Label>'), code=4),
    ],
)
def test_what_is_not_a_sound_table_tells_nothing(content: bytes) -> None:
    assert label_names(content, "<") == {}


def test_whose_objects_values_are_comes_back_and_names_are_as_without() -> None:
    objects = {"Zelle \u00e4": (1, 300), "none of them": ()}
    told = START + extensions(TABLE, objects)
    assert label_objects(told, "<", most=1000) == objects
    assert label_names(told, "<") == {1: "liver", 300: "a & b < c"}
    assert told.startswith(START + extensions(TABLE)[: (len(extensions(TABLE)) // 2)])
    assert label_objects(START + extensions(TABLE), "<", most=1000) == {}


def test_ids_in_a_row_are_told_by_the_first_and_the_last() -> None:
    objects = {"a": (1, 2, 4, 5, 6, 9), "b": tuple(range(100, 1_000_100))}
    told = START + extensions(TABLE, objects)
    assert b'"a":[1,2,[4,6],9],"b":[[100,1000099]]' in told
    assert label_objects(told, "<", most=2_000_000) == objects
    assert label_names(told, "<") == {}
    assert label_objects(told, "<", most=1_000_005) == {}  # more objects than voxels


def test_more_ids_than_there_may_be_are_refused_before_anything_is_made_of_them() -> None:
    text = b'{"medseg objects": {"nucleus": [' + b"1," * (1 << 22) + b"1]}}"
    content = region(text, code=6)
    tracemalloc.start()
    try:
        assert label_objects(content, "<", most=64) == {}
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "a comment",
        '{"medseg objects": [1, 2]}',
        '{"medseg objects": {"nucleus": 3}}',
        '{"medseg objects": {"nucleus": [1, 0]}}',
        '{"medseg objects": {"nucleus": [1.0]}}',
        '{"medseg objects": {"nucleus": [[1]]}}',
        '{"medseg objects": {"nucleus": [[2, 1]]}}',
        '{"medseg objects": {"nucleus": [[1, 2, 3]]}}',
        '{"medseg objects": {"nucleus": [[1, 4294967296]]}}',
        '{"medseg objects": {"nucleus": [[1, 1001]]}}',
        '{"medseg objects": {"nucleus": [[1, 3], 2]}}',
        '{"medseg objects": {"": [1]}}',
        '{"medseg objects": {"one": [1], "two": [1]}}',
        '{"medseg objects": {"nucleus": [1',
        '{"medseg objects": ' + "[" * 100_000,
    ],
)
def test_comments_of_others_and_damaged_ones_tell_of_no_objects(text: str) -> None:
    assert label_objects(region(text.encode(), code=6), "<", most=1000) == {}
