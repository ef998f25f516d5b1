"""Files beside images that are no DICOM: slices that were lost on the way, or something else to pass over.

A slice that became an empty file must not leave a volume with a slice less. What it was only its name can
tell, so a file is suspected where its name is like those of the images beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from medseg.errors import InputError
from medseg.io.content import PEEK_BYTES, by_content, counted, seen
from medseg.io.regular_file import printable

__all__ = ["kinds_of", "passed_over", "refuse_lost"]

NAMED_DICOM = (".dcm", ".dicom", ".ima")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".z")
PREAMBLE_BYTES = 132  # and the letters DICM: no DICOM file with a preamble is shorter
NOT_AN_IMAGE = "non-image DICOM"  # a kind of file, as `seen` has them
RESTORE = "restore it or take it out of the folder"


def refuse_lost(files: Iterable[Path], images: Sequence[Path], base: Path) -> None:
    """Raise InputError for the first of `files`, none of them DICOM, that was a slice like `images`.

    It is named by its path below `base`.

    Suspected is a name that is an image's but for its digits; and, where images have no suffix, any without
    one but for names without digits, as README. Such a file must not be empty, zero, shorter than a DICOM
    file can be, or compressed; with an image's very pattern it must not be unknown data either. A suffix that
    means DICOM is suspect by itself. Text and files of another known format are passed over.
    """
    patterns = {_pattern(image.name) for image in images}
    bare = any(not _suffix(image.name) for image in images)
    for file in files:
        name, packed = file.name.lower(), False
        if name.endswith(COMPRESSED):
            name, packed = name.rpartition(".")[0], True
        exact = _pattern(name) in patterns
        if name.endswith(NAMED_DICOM) or exact or (bare and not _suffix(name) and re.search(r"\d", name)):
            what = "a compressed file: unpack it" if packed else _lost(file, exact=exact)
            if what:
                raise InputError(f"{printable(file.relative_to(base))}: {what}")


def _lost(file: Path, *, exact: bool) -> str:
    """Why a file with a slice's name is a lost slice; empty where it is something else."""
    try:
        with file.open("rb") as opened:
            start = opened.read(PEEK_BYTES)
    except OSError as problem:
        return f"cannot be read: {problem.strerror}; {RESTORE}"
    named = file.suffix.lower() in NAMED_DICOM
    like = "though its name says so" if named else "though its name is like the images'"
    if not start:
        return f"an empty file, {like}; {RESTORE}"
    if not any(start):
        return f"nothing but zeros, {like}; {RESTORE}"
    kind = by_content(start)
    if kind != "text" and len(start) < PREAMBLE_BYTES:
        return f"cut off after {len(start)} bytes, {like}; {RESTORE}"
    if named or (kind == "unknown data" and exact):
        return f"not a DICOM file, {like}; {RESTORE}"
    return ""


def passed_over(files: Iterable[Path], others: int) -> tuple[str, ...]:
    """A line that counts by kind what is left out of account: `files`, no DICOM, and `others`, no images."""
    kinds = kinds_of(files)
    if others:
        kinds[NOT_AN_IMAGE] = others
    return (f"passed over: {counted(kinds)}",) if kinds else ()


def kinds_of(files: Iterable[Path]) -> Counter[str]:
    """How many of these files are of each kind."""
    kinds: Counter[str] = Counter()
    for file in files:
        try:
            with file.open("rb") as opened:
                start = opened.read(PEEK_BYTES)
            kinds[seen(file, start) if start else "empty"] += 1
        except OSError:
            kinds["unreadable"] += 1
    return kinds


def _pattern(name: str) -> str:
    """A name in small letters with each run of digits as one sign."""
    return re.sub(r"\d+", "#", name.lower())


def _suffix(name: str) -> str:
    """The suffix of a name; none where it has digits only, as the end of a UID."""
    suffix = Path(name).suffix
    return "" if suffix[1:].isdigit() else suffix
