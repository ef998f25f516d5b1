"""Every DICOM image below a folder, by its header: one SliceHeader per image or frame, nothing judged yet."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg.errors import InputError
from medseg.io.content import PEEK_BYTES, counted, seen
from medseg.io.decoder import decode
from medseg.io.dicom.directory import DIRECTORY_CLASS, files_of_directory
from medseg.io.dicom.header import SliceHeader, is_image
from medseg.io.regular_file import printable

__all__ = ["indexed"]

MOST_DEPTH = 12  # folders below the one given: patient/study/series is 3, a burnt disc with years and dates 6
MOST_FILES = 200_000
MOST_IMAGES = 400_000  # slices, and frames of multi-frame files
VOLUMES = ("NIfTI", "NRRD", "MetaImage", "PNG", "TIFF", "a zip archive", "a tar archive", "a tar.gz archive")
NAMED_DICOM = (".dcm", ".dicom", ".ima")


def indexed(path: Path) -> list[SliceHeader]:
    """The header of every image below a folder, or that a DICOMDIR names, or of one file.

    Raises InputError where there is none or a file is broken. In a folder, a DICOMDIR is no image.
    """
    files = list(_files(path))
    records = _records(files)
    if path.is_file() and records[0].get("SOPClassUID") == DIRECTORY_CLASS:
        files = files_of_directory(path)
        records = _records(files)
    base = path if path.is_dir() else path.parent
    headers: list[SliceHeader] = []
    for file, record in zip(files, records, strict=True):
        name = printable(file.relative_to(base))
        _refuse_broken(name, file, record)
        header = SliceHeader(file, name, record)
        if not record["dicom"] or not is_image(header):
            continue
        if record["pixels"] is None:  # first of all: what else a cut header says may be cut too
            raise InputError(f"{name} has no pixel data: it is cut off or not an image; restore or remove it")
        headers += _frames(header)
        if len(headers) > MOST_IMAGES:
            raise InputError(f"{path.name}: more than {MOST_IMAGES} images; give the folder of one study")
    if not headers:
        raise _no_images(path, files)
    return headers


def _no_images(path: Path, files: Sequence[Path]) -> InputError:
    """Say what there is instead."""
    if not files:
        return InputError(f"{path.name}: the folder is empty; give the folder of an image series")
    kinds: Counter[str] = Counter()
    for file in files:
        try:
            with file.open("rb") as start:
                kinds[seen(file, start.read(PEEK_BYTES))] += 1
        except OSError:
            kinds["unknown data"] += 1
    what = f"no DICOM images among {len(files)} file(s)"
    others = [kind for kind in VOLUMES if kinds[kind]]
    if others:
        return InputError(f"{path.name}: {what}, but {counted(kinds)}: give one of them")
    return InputError(f"{path.name}: {what} ({counted(kinds)}); give the folder of an image series")


def _records(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What the decoder process says of each file."""
    records: list[dict[str, Any]] = []
    if files:
        decode({"do": "dicom-headers"}, files=files, take=lambda fields, _: records.append(fields))
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


def _refuse_broken(name: str, file: Path, record: dict[str, Any]) -> None:
    if "broken" in record:
        raise InputError(f"{name}: {record['broken']}")
    if not record["dicom"] and file.suffix.lower() in NAMED_DICOM:
        what = "an empty file" if record["size"] == 0 else "not a DICOM file"
        raise InputError(f"{name}: {what}, though its name says so; restore it or take it out of the folder")


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
                f"{path.name}: folders are nested more than {MOST_DEPTH} deep; give the series' folder"
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
                raise InputError(f"{path.name}: more than {MOST_FILES} files; give the folder of one study")
            yield file


def _unreadable_folder(problem: OSError) -> None:
    raise InputError(f"{Path(problem.filename).name}: the folder cannot be read: {problem.strerror}")
