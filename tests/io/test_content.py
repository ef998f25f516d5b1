"""What a file is by its first bytes: nothing is taken for DICOM that is none."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medseg.io.content import by_content, by_name, counted, seen, suffixes

LITTLE = b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x08\0CS\x06\0A\\B\\C "
IMPLICIT = b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100\x08\0\x08\0\x06\0\0\0A\\B\\C "
BIG = b"\0\x08\0\x05CS\0\x0aISO_IR 100\0\x08\0\x08CS\0\x06A\\B\\C "
META = b"\x02\0\0\0UL\x04\0\xb6\0\0\0\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01\x02\0\x02\0UI"
GROUP_LENGTH = b"\x08\0\0\0\x04\0\0\0\x20\1\0\0\x08\0\x01\0\x04\0\0\0\1\2\3\4\x08\0\x05\0"


@pytest.mark.parametrize("start", [LITTLE, IMPLICIT, BIG, META, GROUP_LENGTH, bytes(128) + b"DICM"])
def test_dicom_is_known_with_and_without_its_preamble(start: bytes) -> None:
    assert by_content(start + bytes(200)) == "DICOM"


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"text")
    return packed.getvalue()


OTHERS = {
    "text": b"hello world\n" * 20,
    "nifti": (348).to_bytes(4, "little") + bytes(340) + b"n+1\0",
    "nifti 2": (540).to_bytes(4, "big") + b"n+2\0" + bytes(540),
    "zip": zipped(),
    "gzip": gzip.compress(b"abc" * 99),
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "eights": b"\x08\0\0\0" * 1000,
    "twos": b"\x02\0\0\0" * 1000,
    "counting": np.arange(8, 2000, dtype=np.uint32).tobytes(),
    "counting in shorts": np.arange(8, 2000, dtype=np.uint16).tobytes(),
    "counting in big shorts": np.arange(8, 2000, dtype=">u2").tobytes(),
    "one element": LITTLE[:18],
    "elements in the wrong order": LITTLE[18:] + LITTLE[:18],
    "odd length": b"\x08\0\x05\0CS\x0b\0ISO_IR 100 \x08\0\x08\0CS\x06\0A\\B\\C ",
    "no such type": LITTLE.replace(b"CS", b"XX"),
    "another group": LITTLE.replace(b"\x08\0", b"\x10\0"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_not_taken_for_dicom(name: str) -> None:
    assert by_content(OTHERS[name]) != "DICOM"


def test_noise_is_not_taken_for_dicom() -> None:
    noise = np.random.default_rng(11)
    taken = 0
    for number in range(20_000):
        start = noise.bytes(64)
        if number % 2:  # the right group, and noise after it
            start = struct.pack("<H" if number % 4 == 1 else ">H", 8) + start
        taken += by_content(start) == "DICOM"
    assert taken < 10


def test_names_stand_for_formats() -> None:
    assert by_name(Path("a.b/Brain.NII.gz")) == (".nii.gz", "gzip")
    assert by_name(Path("study.tar.gz")) == (".tar.gz", "a tar.gz archive")
    assert by_name(Path("IM0001")) is None
    assert suffixes("a tar.gz archive") == ".tar.gz or .tgz"


def test_what_lies_in_a_folder_is_counted_in_words() -> None:
    assert seen(Path("a.nii.gz"), gzip.compress(b"x")) == "NIfTI"
    assert seen(Path("a.tgz"), gzip.compress(b"x")) == "a tar.gz archive"
    assert seen(Path("a.gz"), gzip.compress(b"x")) == "gzip"
    assert counted({"NIfTI": 1, "unknown data": 2, "a zip archive": 3}) == (
        "3 zip archives, 2 other files, 1 NIfTI file"
    )
    assert counted({}) == ""
