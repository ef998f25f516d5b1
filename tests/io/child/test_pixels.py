import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_frames import write_enhanced
from dicom_series import EXPLICIT_BIG, EXPLICIT_LITTLE, write_dicom_series
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.decoder import decode

STORED = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)
LARGE = np.arange(40 * 36 * 4, dtype=np.uint16).reshape(40, 36, 4)
JPEG_2000, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


def frames_of(path: Path, frames: Sequence[int] | None) -> list[tuple[str, NDArray[Any]]]:
    taken: list[tuple[str, NDArray[Any]]] = []

    def take(fields: dict[str, Any], array: NDArray[Any] | None) -> None:
        assert array is not None
        taken.append((fields["sha256"], array.T))

    decode({"do": "dicom-pixels", "frames": [frames]}, files=[path], take=take, most_bytes=1 << 20)
    return taken


def refusal(path: Path, frames: Sequence[int] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        frames_of(path, frames)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, RLE, JPEG_2000])
def test_the_asked_frames_come_in_the_asked_order(tmp_path: Path, syntax: str) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", LARGE, syntax=syntax)
    taken = frames_of(path, [3, 0, 3])
    for (digest, array), k in zip(taken, [3, 0, 3], strict=True):
        np.testing.assert_array_equal(array, LARGE[:, :, k])
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_frame_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", STORED)
    assert refusal(path, [5, 6]) == "ct.dcm, frame 7: it has no frame 7"


def test_several_files_are_answered_in_order(tmp_path: Path) -> None:
    many = write_enhanced(tmp_path / "many.dcm", STORED)
    one = write_dicom_series(tmp_path / "one", STORED[:, :, :1]) / "IM0000.dcm"
    taken: list[NDArray[Any] | None] = []
    decode(
        {"do": "dicom-pixels", "frames": [[4, 1], None]},
        files=[many, one],
        take=lambda _, array: taken.append(array),
        most_bytes=1 << 10,
    )
    for array, k in zip(taken, [4, 1, 0], strict=True):
        np.testing.assert_array_equal(array, STORED[:, :, k].T)


def test_frames_of_several_fragments_are_put_together(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate, generate_frames

    path = write_enhanced(tmp_path / "ct.dcm", LARGE, syntax=JPEG_2000)
    dataset = dcmread(path)
    streams = list(generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encapsulate(streams, fragments_per_frame=3)
    dataset.save_as(path)
    for k, (_, array) in enumerate(frames_of(path, [0, 1, 2, 3])):
        np.testing.assert_array_equal(array, LARGE[:, :, k])


def test_an_offset_table_that_lies_does_no_harm(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", LARGE, syntax=JPEG_2000)
    data = bytearray(path.read_bytes())
    table = data.index(struct.pack("<HHI", 0xFFFE, 0xE000, 16)) + 8  # four offsets of four bytes
    data[table : table + 16] = struct.pack("<IIII", 0, 7, 3, 1 << 31)
    path.write_bytes(data)
    for k, (_, array) in enumerate(frames_of(path, [0, 1, 2, 3])):
        np.testing.assert_array_equal(array, LARGE[:, :, k])


def test_a_fragment_that_claims_more_than_the_file_has_is_not_there(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", LARGE, syntax=RLE)
    data = bytearray(path.read_bytes())
    last = data.rindex(struct.pack("<HH", 0xFFFE, 0xE000)) + 4
    data[last : last + 4] = struct.pack("<I", 0x7FFFFFFF)
    path.write_bytes(data)
    assert "cut off: 4 frames are claimed, 3 are there" in refusal(path, [0])


def test_fragments_that_do_not_follow_each_other_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", LARGE, syntax=RLE)
    data = bytearray(path.read_bytes())
    last = data.rindex(struct.pack("<HH", 0xFFFE, 0xE000)) + 4
    data[last - 4 : last] = b"\0\0\0\0"
    path.write_bytes(data)
    assert "a fragment does not start where it should" in refusal(path, [0])


def test_8_bit_words_of_big_endian_files_are_turned_around(tmp_path: Path) -> None:
    """PS3.5 8.1.2: two 8-bit values lie in one word, which big endian turns around."""
    values = np.arange(80, dtype=np.uint8).reshape(10, 8, 1)

    def edit(_k: int, dataset: Any) -> None:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()

    path = write_dicom_series(tmp_path, values, syntax=EXPLICIT_BIG, edit=edit) / "IM0000.dcm"
    np.testing.assert_array_equal(frames_of(path, None)[0][1], values[:, :, 0])


def test_a_file_that_changes_after_its_header_was_read_is_read_anew(tmp_path: Path) -> None:
    path = write_dicom_series(tmp_path, STORED[:, :, :1]) / "IM0000.dcm"
    decode({"do": "dicom-headers", "salt": "00"}, files=[path], take=lambda _f, _a: None)
    write_dicom_series(tmp_path, STORED[:6, :, 1:2].astype(np.uint8))
    np.testing.assert_array_equal(frames_of(path, None)[0][1], STORED[:6, :, 1].astype(np.uint8))


@pytest.mark.parametrize(
    "changes",
    [{"Rows": 0}, {"BitsStored": 0}, {"BitsStored": 20}, {"BitsAllocated": 12}, {"SamplesPerPixel": 3}],
    ids=str,
)
def test_pixels_that_no_header_describes_are_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    def edit(_k: int, dataset: Any) -> None:
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)

    path = write_dicom_series(tmp_path, STORED[:, :, :1], edit=edit) / "IM0000.dcm"
    assert "its header does not say how its pixels are stored" in refusal(path)
