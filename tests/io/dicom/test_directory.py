"""Images that a DICOMDIR names."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medseg.errors import InputError
from medseg.io import digests, inspect, read
from medseg.io.child.dicomdir import dicomdir

STORED = np.arange(12 * 10 * 5, dtype=np.int16).reshape(12, 10, 5)
Write = Callable[..., Path]

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def write_directory(
    path: Path, named: Sequence[Any], *, kind: str = "IMAGE", edit: "Callable[[Dataset], None] | None" = None
) -> Path:
    """A DICOMDIR with one record for each path, given as a list of parts, after a patient's record."""
    from pydicom import DataElement
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence as Records
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.77")
    meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.FileSetID = "DISC"
    patient = Dataset()
    patient.DirectoryRecordType, patient.PatientName = "PATIENT", "CANARYSURNAME"
    records = [patient]
    for parts in named:
        record = Dataset()
        record.OffsetOfTheNextDirectoryRecord = 1
        record.RecordInUseFlag = 0xFFFF
        record.DirectoryRecordType = kind
        record.add(DataElement("ReferencedFileID", "CS", parts, validation_mode=0))
        if edit is not None:
            edit(record)
        records.append(record)
    dataset.DirectoryRecordSequence = Records(records)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def disc(tmp_path: Path, write_series: Write) -> Path:
    """A disc with a series of five slices, named as discs name them, and another image outside of it."""
    folder = write_series(tmp_path / "disc" / "IMAGES" / "SE1", STORED)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"IM{number}")
    write_series(tmp_path / "elsewhere", STORED, series="1.2.3.66")
    return tmp_path / "disc"


def everything(disc: Path) -> list[list[str]]:
    return [["IMAGES", "SE1", f"IM{number}"] for number in range(5)]


HOOKED: list[bool] = []
LISTENING: list[list[str]] = []  # a hook cannot be taken off again: it stays, and has nobody to tell


def _note(event: str, given: tuple[Any, ...]) -> None:
    if LISTENING and event in ("open", "os.listdir", "os.scandir"):
        LISTENING[-1].append(str(given[0]))


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Every path that this process opens or lists meanwhile."""
    if not HOOKED:
        sys.addaudithook(_note)
        HOOKED.append(True)
    LISTENING.append([])
    try:
        yield LISTENING[-1]
    finally:
        LISTENING.pop()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_directory_gives_the_images_it_names(disc: Path) -> None:
    path = write_directory(disc / "DICOMDIR", everything(disc))
    volume = read(path)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.source is not None
    assert [file.name for file in volume.source.files] == [f"IM{number}" for number in range(5)]
    assert digests(path) == volume.source.sha256
    assert [(c.verdict, c.files) for c in inspect(path)] == [("ok", 5)]


def test_it_is_known_by_its_content_and_names_come_in_any_case(disc: Path) -> None:
    named = [["images", "Se1", f"im{number}"] for number in range(5)]
    assert read(write_directory(disc / "index.bin", named)).grid.shape == (12, 10, 5)


def test_only_images_in_use_count_and_each_counts_once(disc: Path) -> None:
    def deleted(record: "Dataset") -> None:
        if record.ReferencedFileID[-1] == "IM9":
            record.RecordInUseFlag = 0

    named = [*everything(disc), *everything(disc), ["IMAGES", "SE1", "IM9"]]
    assert read(write_directory(disc / "DICOMDIR", named, edit=deleted)).grid.shape == (12, 10, 5)
    assert "names no images" in refusal(write_directory(disc / "DICOMDIR", named, kind="SR DOCUMENT"))


def test_in_a_folder_it_is_no_image_and_not_followed(disc: Path) -> None:
    write_directory(disc / "DICOMDIR", [["..", "elsewhere", "IM0000.dcm"]])
    assert read(disc).grid.shape == (12, 10, 5)


def test_a_file_that_is_missing_is_named(disc: Path) -> None:
    named = [*everything(disc), ["IMAGES", "SE1", "IM5"]]
    assert "names IMAGES/SE1/IM5, which is not there; copy the whole disc" in refusal(
        write_directory(disc / "DICOMDIR", named)
    )
    folder = [["IMAGES", "SE1"]]
    assert "not a regular file but a folder" in refusal(write_directory(disc / "DICOMDIR", folder))


ESCAPES: dict[str, Any] = {
    "parent": ["..", "elsewhere", "IM0000.dcm"],
    "parent within": ["IMAGES", "..", "..", "elsewhere", "IM0000.dcm"],
    "path in a part": ["../elsewhere/IM0000.dcm"],
    "absolute": ["{elsewhere}/IM0000.dcm"],
    "absolute in parts": ["", "{elsewhere}", "IM0000.dcm"],
    "drive": ["C:", "elsewhere"],
    "line break": ["IMAGES\n..", "x"],
    "folder that is a link": ["LINK", "IM0000.dcm"],
    "file that is a link": ["IMAGES", "SE1", "LINKED"],
    "link in other capitals": ["link", "im0000.dcm"],
    "here": [".", "IMAGES"],
    "empty": [""],
    "deep": ["A"] * 9,
    "long": ["A" * 65],
}


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_outside_its_folder_is_opened(disc: Path, name: str) -> None:
    outside = disc.parent / "elsewhere"
    (disc / "LINK").symlink_to(outside)
    (disc / "IMAGES" / "SE1" / "LINKED").symlink_to(outside / "IM0000.dcm")
    parts = [part.replace("{elsewhere}", str(outside)) for part in ESCAPES[name]]
    path = write_directory(disc / "DICOMDIR", [*everything(disc), parts])
    with opened_files() as opened:
        assert refusal(path).startswith("DICOMDIR: names a file ")
        list(dicomdir({"files": [str(path)]}))  # what runs in the decoder process
    assert opened.count(str(path)) >= 2
    assert not [each for each in opened if "elsewhere" in each or "LINK" in each]


def test_a_link_that_stays_inside_is_followed(disc: Path) -> None:
    (disc / "SHORT").symlink_to("IMAGES/SE1")
    named = [["SHORT", f"IM{number}"] for number in range(5)]
    assert read(write_directory(disc / "DICOMDIR", named)).grid.shape == (12, 10, 5)


@pytest.mark.parametrize("damage", ["cut", "noise", "loop"])
def test_a_damaged_directory_is_refused_or_read_in_no_time(disc: Path, damage: str) -> None:
    path = write_directory(disc / "DICOMDIR", everything(disc) * 20)
    content = path.read_bytes()
    if damage == "cut":
        for size in range(0, len(content), 97):
            path.write_bytes(content[:size])
            with suppress(InputError):
                assert read(path).grid.shape[:2] == (12, 10)
    elif damage == "noise":
        noise = np.random.default_rng(5)
        for _ in range(100):
            changed = bytearray(content)
            for place in noise.integers(132, len(content), 20):
                changed[place] = noise.integers(256)
            path.write_bytes(changed)
            with suppress(InputError):
                read(path)
    else:  # offsets that lead in circles: none is followed

        def circle(record: "Dataset") -> None:
            record.OffsetOfReferencedLowerLevelDirectoryEntity = 400

        assert read(write_directory(path, everything(disc), edit=circle)).grid.shape == (12, 10, 5)


def test_nothing_of_the_patient_leaves_the_decoder(disc: Path) -> None:
    path = write_directory(disc / "DICOMDIR", everything(disc))
    assert b"CANARYSURNAME" in path.read_bytes()
    assert "CANARYSURNAME" not in str(list(dicomdir({"files": [str(path)]})))


def test_real_directories_name_their_images() -> None:
    """Those that pydicom ships for its tests: in parts, implicit, big endian, without offsets."""
    from pydicom.data import get_testdata_file

    for name in ("DICOMDIR", "DICOMDIR-implicit", "DICOMDIR-bigEnd", "DICOMDIR-nooffset"):
        path = str(get_testdata_file(name))
        paths = [parts for reply, _ in dicomdir({"files": [path]}) for parts in reply["paths"]]
        assert len(paths) == 31, name
        assert paths[0] == ["77654033", "CR1", "6154"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "which is empty"), (b"hello\n", "which is not a DICOM file")]
)
def test_what_it_names_must_be_dicom(disc: Path, content: bytes, words: str) -> None:
    path = write_directory(disc / "DICOMDIR", everything(disc))
    (disc / "IMAGES" / "SE1" / "IM4").write_bytes(content)
    assert refusal(path) == f"DICOMDIR: names IMAGES/SE1/IM4, {words}; copy the disc again"
