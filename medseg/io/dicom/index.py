"""Every DICOM image below a folder, by its header: one SliceHeader per image or frame, nothing judged yet."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medseg.errors import InputError
from medseg.io.content import counted
from medseg.io.decoder import decode
from medseg.io.dicom.directory import DIRECTORY_CLASS, files_of_directory
from medseg.io.dicom.header import SliceHeader, is_image
from medseg.io.dicom.lost import kinds_of, passed_over, refuse_lost
from medseg.io.regular_file import printable

__all__ = ["Index", "indexed"]

MOST_DEPTH = 12  # folders below the one given: patient/study/series is 3, a burnt disc with years and dates 6
MOST_FILES = 200_000
MOST_IMAGES = 400_000  # slices, and frames of multi-frame files
VOLUMES = ("NIfTI", "NRRD", "MetaImage", "PNG", "TIFF", "a zip archive", "a tar archive", "a tar.gz archive")
SALT = os.urandom(16).hex()  # of digests of patients: they mean something in this process alone
MASKS = {"SEG": "a segmentation", "RTSTRUCT": "a structure set"}


class Index(NamedTuple):
    """Images that were found, and a line on the files that were passed over for them."""

    headers: list[SliceHeader]
    passed: tuple[str, ...] = ()


def indexed(path: Path) -> Index:
    """The header of every image below a folder, or that a DICOMDIR names, or of one file.

    Raises InputError where there is none, a file is broken, or one that is no DICOM seems to have been a
    slice. In a folder, a DICOMDIR is no image.
    """
    files = list(_files(path))
    records = _records(files)
    base = path if path.is_dir() else path.parent
    if path.is_file() and records[0].get("SOPClassUID") == DIRECTORY_CLASS:
        files = files_of_directory(path)
        records = _records(files)
        _refuse_no_dicom(path, files, records)
    headers: list[SliceHeader] = []
    others: list[SliceHeader] = []
    for file, record in zip(files, records, strict=True):
        header = SliceHeader(file, printable(file.relative_to(base)), record)
        if "broken" in record:
            raise InputError(f"{header.name}: {record['broken']}")
        if not record["dicom"]:
            continue
        if not is_image(header):
            others.append(header)
            continue
        if record["pixels"] is None:  # first of all: what else a cut header says may be cut too
            raise InputError(
                f"{header.name} has no pixel data: it is cut off or not an image; restore or remove it"
            )
        headers += _frames(header)
        if len(headers) > MOST_IMAGES:
            raise InputError(f"{_named(path)}: more than {MOST_IMAGES} images; give the folder of one study")
    strange = [file for file, record in zip(files, records, strict=True) if not record["dicom"]]
    refuse_lost(strange, [header.path for header in headers], base)
    if not headers:
        raise _no_images(path, files, others)
    directories = sum(other.text("SOPClassUID") == DIRECTORY_CLASS for other in others)
    return Index(headers, passed_over(strange, len(others) - directories))


def _refuse_no_dicom(directory: Path, files: Sequence[Path], records: Sequence[dict[str, Any]]) -> None:
    """What a DICOMDIR names as an image must be DICOM at least."""
    for file, record in zip(files, records, strict=True):
        if "broken" not in record and not record["dicom"]:
            what = "not a DICOM file" if record["size"] else "empty"
            name = printable(file.relative_to(directory.parent))
            raise InputError(f"{directory.name}: names {name}, which is {what}; copy the disc again")


def _named(path: Path) -> str:
    """What to call the folder or file that was given; the root has no name."""
    return path.name or str(path)


def _no_images(path: Path, files: Sequence[Path], others: Sequence[SliceHeader]) -> InputError:
    """Say what there is instead."""
    if not files:
        return InputError(f"{_named(path)}: the folder is empty; give the folder of an image series")
    kinds = kinds_of(files)
    what = f"no DICOM images among {len(files)} file(s)"
    masks = next((other for other in others if other.text("Modality") in MASKS), None)
    if masks is not None:
        holds = f"{masks.name} is {MASKS[masks.text('Modality')]}"
        put = f"medseg convert {masks.name} --onto IMAGE puts it onto its image"
        return InputError(f"{_named(path)}: {what}; {holds}: {put}")
    named = [kind for kind in VOLUMES if kinds[kind]]
    if named:
        return InputError(f"{_named(path)}: {what}, but {counted(kinds)}: give one of them")
    return InputError(f"{_named(path)}: {what} ({counted(kinds)}); give the folder of an image series")


def _records(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What the decoder process says of each file."""
    records: list[dict[str, Any]] = []
    if files:
        asked = {"do": "dicom-headers", "salt": SALT}
        decode(asked, files=files, take=lambda fields, _: records.append(fields))
    return records


def _frames(header: SliceHeader) -> list[SliceHeader]:
    """One header for each frame of a file, holding what is true for that frame; its own if it has no frames.

    Frames are numbered from 1 in names, as DICOM does.
    """
    frames = header.values.get("frames")
    if frames is None:
        return [header]
    shared = {keyword: value for keyword, value in header.values.items() if keyword != "frames"}
    return [
        SliceHeader(header.path, f"{header.name}, frame {number + 1}", shared | frame, frame=number)
        for number, frame in enumerate(frames)
    ]


def _files(path: Path) -> Iterator[Path]:
    """Regular files below a folder, each once; linked folders and hidden files are left alone."""
    if not path.is_dir():
        yield path
        return
    seen: set[tuple[int, int]] = set()
    base = len(path.parts)
    for folder, below, names in os.walk(path, onerror=_unreadable_folder):
        here = Path(folder)
        if len(here.parts) - base >= MOST_DEPTH and below:
            raise InputError(
                f"{_named(path)}: folders are nested more than {MOST_DEPTH} deep; give the series' folder"
            )
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            file = here / name
            try:
                state = file.stat()
            except OSError:  # a dangling link
                continue
            place = (state.st_dev, state.st_ino)
            if name.startswith(".") or not stat.S_ISREG(state.st_mode) or place in seen:
                continue
            seen.add(place)
            if len(seen) > MOST_FILES:
                raise InputError(
                    f"{_named(path)}: more than {MOST_FILES} files; give the folder of one study"
                )
            yield file


def _unreadable_folder(problem: OSError) -> None:
    raise InputError(
        f"{printable(Path(problem.filename))}: the folder cannot be read ({problem.strerror}); make it "
        "readable, or give the folder of one study"
    )
