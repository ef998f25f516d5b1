import math
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import EXPLICIT_BIG, write_dicom_series

from medseg.errors import InputError
from medseg.io.child.dicom import TAGS, plain
from medseg.io.decoder import decode

STORED = np.arange(12 * 10, dtype=np.int16).reshape(12, 10, 1)
UNDEFINED = b"\xff\xff\xff\xff"
DEFLATED, IMPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2"
SIZE = STORED.size * 2


def record_of(path: Path) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    decode({"do": "dicom-headers", "salt": "00"}, files=[path], take=lambda fields, _: records.append(fields))
    return records[0]


def refusal_of_pixels(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        decode({"do": "dicom-pixels"}, files=[path], take=lambda _f, _a: None, most_bytes=SIZE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one_file(folder: Path, **more: Any) -> Path:
    return write_dicom_series(folder, STORED, **more) / "IM0000.dcm"


def inserted(path: Path, element: bytes) -> Path:
    """The file with these bytes before its first element of group 0020."""
    data = path.read_bytes()
    at = data.index(b"\x20\0\x0d\0UI")  # StudyInstanceUID
    path.write_bytes(data[:at] + element + data[at:])
    return path


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", IMPLICIT, EXPLICIT_BIG, DEFLATED])
def test_every_way_of_writing_tags_gives_the_same_record(tmp_path: Path, syntax: str) -> None:
    record = record_of(one_file(tmp_path, syntax=syntax))
    expected = {
        "Rows": 10, "Columns": 12, "BitsStored": 16, "PixelRepresentation": 1, "RescaleIntercept": -1024,
        "ImagePositionPatient": [-30, -20, 40], "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPInstanceUID": "1.2.3.1.1", "TransferSyntaxUID": syntax, "unreadable": [], "repaired": [],
    }  # fmt: skip
    assert {keyword: record[keyword] for keyword in expected} == expected
    if syntax != DEFLATED:
        assert (record["pixels"], record["pixel_bytes"]) == ("integer", SIZE)


def test_no_tag_of_the_patient_is_in_a_record(tmp_path: Path, canaries: tuple[str, ...]) -> None:
    path = one_file(tmp_path)
    told = repr(record_of(path))
    assert canaries[0].encode() in path.read_bytes()
    assert not [canary for canary in canaries if canary in told]


def test_a_number_that_is_none_is_left_as_it_is_written(tmp_path: Path) -> None:
    path = one_file(tmp_path)
    data = path.read_bytes()
    assert data.count(b"-1024.0 ") == 1
    path.write_bytes(data.replace(b"-1024.0 ", b"-10x4.0 "))
    record = record_of(path)
    assert record["RescaleIntercept"] == "-10x4.0"  # for the parent to refuse
    assert record["Rows"] == 10


def test_values_are_cut_to_what_a_line_holds() -> None:
    assert plain("x" * 1000) == "x" * 200
    assert plain([1, 2.5, "a", None]) == [1, 2.5, "a", None]
    assert plain(list(range(100))) == list(range(16))
    assert plain(b"bytes") is None


def test_a_number_without_end_is_no_number(tmp_path: Path) -> None:
    path = one_file(tmp_path)
    data = path.read_bytes()
    at = data.index(b"\x20\0\x13\0IS")  # InstanceNumber
    digits = b"9" * 400
    path.write_bytes(data[: at + 6] + struct.pack("<H", 400) + digits + data[at + 10 :])
    record = record_of(path)
    assert not math.isfinite(record["InstanceNumber"])  # for the parent to do without
    assert record["pixels"] == "integer"


def _plain_or_none(dataset: Any, keyword: str) -> Any:
    """What pydicom makes of a tag, without spaces that fill up a value: they mean nothing (PS3.5 6.2)."""
    value = plain(dataset[keyword].value) if keyword in dataset else None
    if isinstance(value, list):
        return [part.strip() if isinstance(part, str) else part for part in value]
    return value


def test_records_of_real_files_hold_what_pydicom_reads(real_data: Path) -> None:
    from pydicom import dcmread

    files = sorted((real_data / "dicom_odd").rglob("*.dcm"))
    records: list[dict[str, Any]] = []
    decode({"do": "dicom-headers", "salt": "00"}, files=files, take=lambda fields, _: records.append(fields))
    compared = 0
    for path, record in zip(files, records, strict=True):
        if not record.get("dicom"):
            continue
        with warnings.catch_warnings(action="ignore"):
            dataset = dcmread(path, force=True, specific_tags=list(TAGS))
            theirs = {keyword: _plain_or_none(dataset, keyword) for keyword in TAGS}
        for keyword in set(TAGS) & set(record) - set(record["repaired"]) - set(record["unreadable"]) - {
            "ModalityLUTSequence"
        }:
            assert record[keyword] == theirs[keyword], (path.name, keyword)
            compared += 1
    assert compared > 1500


# ------------------------------------------------------------------ hostile headers
def nested(depth: int) -> bytes:
    """A sequence in a sequence and so on, all of undefined length."""
    start = b"\x20\0\x00\x01SQ\0\0" + UNDEFINED + b"\xfe\xff\0\xe0" + UNDEFINED
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return start * depth + end * depth


HOSTILE: dict[str, bytes] = {
    "nested": nested(5000),
    "nested and cut": nested(5000)[:60_000],
    "huge value": b"\x18\0\x00\x10LO\xff\xff",
    "huge long value": b"\x18\0\x00\x10UN\0\0\xfe\xff\xff\x7f",
    "undefined length": b"\x18\0\x00\x10UN\0\0" + UNDEFINED,
    "undefined text": b"\x18\0\x00\x10OB\0\0" + UNDEFINED + b"\0" * 64,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_element_costs_one_line_and_no_process(tmp_path: Path, name: str) -> None:
    path = inserted(one_file(tmp_path), HOSTILE[name])
    record = record_of(path)
    told = record.get("broken") or record.get("pixels")
    assert told is None or "\n" not in told
    assert told != "integer" or name.startswith("nested")  # nothing after it was read as if it were not there
    message = refusal_of_pixels(path)
    assert message.startswith("IM0000.dcm: ")
    assert record_of(one_file(tmp_path / "sound"))["Rows"] == 10


def test_nesting_that_real_files_have_is_read(tmp_path: Path) -> None:
    record = record_of(inserted(one_file(tmp_path), nested(30)))
    assert record["pixels"] == "integer"
    assert record["Rows"] == 10


# ------------------------------------------------------------------ pixel data
def test_floating_point_pixels_are_told_from_integers(tmp_path: Path) -> None:
    def edit(_k: int, dataset: Any) -> None:
        del dataset.PixelData
        dataset.FloatPixelData = np.zeros(120, np.float32).tobytes()

    path = one_file(tmp_path, edit=edit)
    assert record_of(path)["pixels"] == "float"
    assert "its pixel data is missing or cut off" in refusal_of_pixels(path)


@pytest.mark.parametrize("left", [0, 1, 100, SIZE - 1])
def test_pixels_that_the_file_does_not_have_are_counted(tmp_path: Path, left: int) -> None:
    path = one_file(tmp_path)
    path.write_bytes(path.read_bytes()[: left - SIZE])
    assert record_of(path)["pixel_bytes"] == left
    assert "its pixel data is missing or cut off" in refusal_of_pixels(path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_whole_fragments_are_counted(tmp_path: Path, syntax: str) -> None:
    stored = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36, 1)
    path = write_dicom_series(tmp_path, stored, syntax=syntax) / "IM0000.dcm"
    assert record_of(path)["fragments"] == 1
    path.write_bytes(path.read_bytes()[:-20])
    assert record_of(path)["fragments"] == 0


def test_compressed_pixels_under_an_uncompressed_syntax_are_refused(tmp_path: Path) -> None:
    stored = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36, 1)
    path = write_dicom_series(tmp_path, stored, syntax="1.2.840.10008.1.2.5") / "IM0000.dcm"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"))
    assert "its pixel data is not stored as its transfer syntax says" in refusal_of_pixels(path)


def test_a_file_that_is_not_dicom_is_no_error(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n", encoding="ascii")
    assert record_of(text) == {"dicom": False, "size": 6}
