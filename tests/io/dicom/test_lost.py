"""Files beside images that are no DICOM: lost slices are refused, others are passed over and counted."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import InputError
from medseg.io import inspect, read

STORED = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)
OFFICE = b"\xd0\xcf\x11\xe0" * 40  # what a Thumbs.db starts with
Write = Callable[..., Path]


def bare(write_series: Write, folder: Path) -> Path:
    """A series whose files have no suffix, as scanners and discs name them."""
    for file in write_series(folder, STORED).iterdir():
        file.rename(file.with_suffix(""))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(folder)
    with pytest.raises(InputError) as again:
        inspect(folder)
    assert str(again.value) == str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def policies(folder: Path) -> tuple[str, ...]:
    source = read(folder).source
    assert source is not None
    return source.policies


LOST: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "IM0005: an empty file, though its name is like the images'; restore it"),
    "zeros": (lambda data: bytes(len(data)), "IM0005: nothing but zeros, though its name"),
    "zeros at first": (lambda data: bytes(4096) + data, "IM0005: nothing but zeros, though its name"),
    "cut in zeros": (lambda data: data[:100], "IM0005: nothing but zeros, though its name"),
    "cut": (lambda data: b"II*\0" + data[4:100], "IM0005: cut off after 100 bytes, though its name"),
    "noise": (
        lambda data: b"\x93\x01\xff\xfe" * (len(data) // 4),
        "IM0005: not a DICOM file, though its name is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("k", [0, 2, 5], ids=["first", "middle", "last"])
def test_a_lost_slice_is_refused_whatever_its_name_ends_with(
    tmp_path: Path, write_series: Write, name: str, k: int
) -> None:
    folder = bare(write_series, tmp_path / "ct")
    spoil, words = LOST[name]
    file = folder / f"IM000{k}"
    file.write_bytes(spoil(file.read_bytes()))
    assert words.replace("IM0005", file.name) in refusal(folder)


@pytest.mark.parametrize("suffix", [".img", ".0", ".dcm", ".IMA"])
def test_a_lost_slice_among_files_of_any_suffix_is_refused(
    tmp_path: Path, write_series: Write, suffix: str
) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    for file in folder.iterdir():
        file.rename(file.with_suffix(suffix))
    (folder / f"IM0005{suffix}").write_bytes(b"")
    assert f"IM0005{suffix}: an empty file" in refusal(folder)


def test_a_lost_slice_among_names_without_a_pattern_is_refused(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    for k, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{'abcdef'[k]}9c4{'fedcba'[k]}")
    (folder / "f9c4a").write_bytes(b"")
    assert "f9c4a: an empty file" in refusal(folder)


@pytest.mark.parametrize("name", ["IM0005.dcm.gz", "other.dcm.bz2", "IM0005.dcm.GZ", "im0005.dcm.xz"])
def test_a_compressed_slice_is_to_be_unpacked(tmp_path: Path, write_series: Write, name: str) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    data = (folder / "IM0005.dcm").read_bytes()
    (folder / "IM0005.dcm").unlink()
    (folder / name).write_bytes(gzip.compress(data))
    assert refusal(folder) == f"{name}: a compressed file: unpack it"


BESIDE: dict[str, tuple[dict[str, bytes], str]] = {
    "readme": ({"README": b"", "README.txt": b"hello\n"}, "1 empty file, 1 text file"),
    "of the system": ({"Thumbs.db": OFFICE, ".DS_Store": OFFICE}, "1 other file"),
    "empty of another name": ({"notes1.txt": b"", "done": b""}, "2 empty files"),
    "short text of a slice's name": ({"IM0006": b"see study 7\n"}, "1 text file"),
    "another format": ({"IM0006": b"\x89PNG\r\n\x1a\n" + bytes(200)}, "1 PNG file"),
    "in another folder": ({"private/VERSION": b"\1\2"}, "1 other file"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_was_never_a_slice_is_passed_over_and_counted(
    tmp_path: Path, write_series: Write, name: str
) -> None:
    folder = bare(write_series, tmp_path / "ct")
    files, told = BESIDE[name]
    for file, content in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    np.testing.assert_array_equal(read(folder).array[0], STORED - 1024)
    assert policies(folder) == (f"passed over: {told}",)


def test_dicom_that_is_no_image_is_counted_too(tmp_path: Path, write_series: Write) -> None:
    import pydicom

    folder = write_series(tmp_path / "ct", STORED)
    report = pydicom.dcmread(folder / "IM0000.dcm")
    del report.PixelData
    kind = pydicom.uid.BasicTextSRStorage
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = kind
    report.Modality = "SR"
    report.save_as(folder / "report.dcm", enforce_file_format=True)
    assert policies(folder) == ("passed over: 1 non-image DICOM file",)
