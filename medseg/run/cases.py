"""Which cases a cohort has: the rows of a CSV file, or what lies in a folder.

A case's id names its folder and its rows in the tables. It is the CSV file's column `case`, else the stem of
the first image's file name, else, for DICOM, a hash: names of DICOM files and folders often hold a patient's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from medseg.errors import InputError, UsageError, did_you_mean
from medseg.io import ARCHIVES
from medseg.io.content import SUFFIXES
from medseg.io.csv_rows import read_rows
from medseg.io.regular_file import is_folder, open_regular, printable, require_regular
from medseg.pipeline import Input
from medseg.run.inputs import PLAIN, plain_stem

__all__ = ["Found", "Task", "find_cases"]

CASE = "case"
TABLES = ("cohort.csv", "summary.csv", "cohort.json")
MOST_CASES = 100_000
DICOM_SUFFIXES = tuple(suffix for suffix, kind in SUFFIXES.items() if kind == "DICOM")
ARCHIVE_SUFFIXES = tuple(suffix for suffix, kind in SUFFIXES.items() if kind in ARCHIVES)
IMAGE_SUFFIXES = (*SUFFIXES, ".hdr", ".hdr.gz")  # of a .hdr/.img pair the header stands for both
MOST_LOOKED_AT = 2000  # files of a sub-folder in search of the first DICOM file


class Task(NamedTuple):
    """A case before it is run: its id and the path of each of the pipeline's inputs."""

    case: str
    images: dict[str, Path]
    said_by: str
    """Where it comes from, for messages on the terminal: a line of a CSV file or a path."""


@dataclass(frozen=True)
class Found:
    """The cases of a cohort in their order, and what was left aside, in words for the terminal."""

    cases: tuple[Task, ...]
    notes: tuple[str, ...] = ()


def find_cases(source: Path, inputs: Sequence[Input], *, out: Path) -> Found:
    """The cases that a CSV file or a folder names; `out` is not searched.

    Raises InputError where there are none or the CSV file is wrong, UsageError where two cases have one id.
    """
    if is_folder(source):
        found = _in_folder(source, inputs, out)
    elif source.suffix.lower() == ".csv":
        found = _in_table(source, inputs)
    else:
        raise InputError(
            f"{printable(source)}: is neither a folder nor a .csv file; for one image use `medseg segment`"
        )
    if not found.cases:
        raise InputError(f"{printable(source)}: holds no cases")
    if len(found.cases) > MOST_CASES:
        raise InputError(f"{printable(source)}: has more than {MOST_CASES} cases; split it")
    _refuse_clashes(found.cases)
    return found


def _refuse_clashes(cases: Iterable[Task]) -> None:
    """Ids must differ in more than case: some file systems do not tell `A` from `a`."""
    seen: dict[str, Task] = {}
    for task in cases:
        other = seen.setdefault(task.case.casefold(), task)
        if other is not task:
            raise UsageError(
                f"{other.said_by} and {task.said_by} are both case {task.case!r}; "
                f"give each an id of its own in a CSV file's column {CASE!r}"
            )


# ---- a folder


def _in_folder(folder: Path, inputs: Sequence[Input], out: Path) -> Found:
    """Each image file, and each sub-folder with DICOM below it, in the order of their names."""
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise UsageError(
            f"the pipeline takes {len(inputs)} inputs ({names}), a folder gives one; "
            f"write a CSV file with the columns {names}"
        )
    own = os.path.realpath(out)
    tasks: list[Task] = []
    others = 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or os.path.realpath(path) == own:
            continue
        if is_folder(path):
            wanted = first_dicom_file(path) is not None
        elif _is_dicom_file(path):
            raise UsageError(
                f"{printable(folder)}: holds DICOM files itself, so it is one case: use `medseg segment`, "
                "or give the folder above it"
            )
        else:
            wanted = path.name.lower().endswith(IMAGE_SUFFIXES)
        others += not wanted
        if wanted:
            tasks.append(Task(_own_id(path, path.name), {inputs[0].name: path}, printable(path)))
    things = "thing in the folder is" if others == 1 else "things in the folder are"
    return Found(tuple(tasks), (f"{others} {things} no image and left aside",) if others else ())


def first_dicom_file(folder: Path) -> Path | None:
    """The first DICOM file below a folder in the order of names; None where there is none."""
    looked_at = 0
    for here, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = Path(here) / name
            if not name.startswith(".") and _is_dicom_file(path):
                return path
            looked_at += 1
            if looked_at >= MOST_LOOKED_AT:
                return None
    return None


def _is_dicom_file(path: Path) -> bool:
    """Whether a regular file's name or its first bytes say DICOM."""
    try:
        require_regular(path)
        if path.name.lower().endswith(DICOM_SUFFIXES):
            return True
        with open_regular(path) as file:
            return file.read(132)[128:] == b"DICM"
    except (InputError, OSError):  # whoever reads it says what is wrong
        return False


# ---- a CSV file


def _in_table(path: Path, inputs: Sequence[Input]) -> Found:
    """Each row: a path for each of the pipeline's inputs, relative to the file's folder."""
    names = [spec.name for spec in inputs]
    header, rows = read_rows(path, called=lambda name: _column(name, names))
    for name in names:
        if name not in header:
            rest = [column for column in header if column not in (CASE, *names)]
            raise InputError(f"{printable(path)}: has no column {name!r}{did_you_mean(name, rest)}")
    tasks = [_row(f"{printable(path)}, line {line}", row, names, path.parent) for line, row in rows]
    ignored = [name for name in header if name not in (CASE, *names)]
    return Found(tuple(tasks), (f"columns not used: {', '.join(ignored)}",) if ignored else ())


def _column(name: str, inputs: Sequence[str]) -> str:
    """A column's name; that of ids may be written in capitals, unless an input has the name."""
    return CASE if name.casefold() == CASE and not {name, CASE} & set(inputs) else name


def _row(where: str, row: dict[str, str], names: Sequence[str], folder: Path) -> Task:
    images = {}
    for name in names:
        if not row[name]:
            raise InputError(f"{where}: {name!r} is empty; give a path")
        images[name] = folder / row[name]
    given = row.get(CASE, "") if CASE not in names else ""
    if given and not _fits(given):
        raise InputError(
            f"{where}: {given[:100]!r} cannot be a case id; use up to 80 of A-Z a-z 0-9 . _ - "
            "and no dot in front"
        )
    return Task(given or _own_id(images[names[0]], row[names[0]]), images, where)


# ---- ids


def _fits(case: str) -> bool:
    """Whether an id can name a folder and a row: plain characters, and no file of the cohort's own."""
    return PLAIN.fullmatch(case) is not None and case.casefold() not in TABLES


def _own_id(path: Path, written: str) -> str:
    """The stem of an image's file name; a hash for DICOM and for names that would not do.

    For DICOM it is a hash of the bytes of the first file by name (or of the archive), which no name can be
    guessed from; elsewhere of the path as `written`.
    """
    alone = path.name.lower().endswith(ARCHIVE_SUFFIXES) or _is_dicom_file(path)
    first = first_dicom_file(path) if is_folder(path) else path if alone else None
    if first is not None:
        try:
            with open_regular(first) as file:
                return f"dicom-{file.sha256()[:12]}"
        except (InputError, OSError):  # reading the case says what is wrong
            return f"dicom-{_hash(written)}"
    stem = plain_stem(path)
    return stem if stem is not None and _fits(stem) else f"case-{_hash(written)}"


def _hash(written: str) -> str:
    return hashlib.sha256(os.fsencode(written)).hexdigest()[:12]
