"""Why a case failed, in two versions: for the terminal, and for files, which carry no path or name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from medseg.errors import MedsegError
from medseg.io.regular_file import printable

__all__ = ["reason", "without_names"]

# What follows describes series in the words of whoever operated the scanner.
DESCRIPTIONS = re.compile(r"(more than one series \(\d+\)), give one folder only: .*")
MOST_FILES = 20_000
MOST_CHARACTERS = 1000


def reason(problem: BaseException) -> str:
    """A failure in one line, with the step and plugin it was in; for the terminal."""
    notes = "; ".join(getattr(problem, "__notes__", ()))
    where = f" [{notes}]" if notes else ""
    if isinstance(problem, MedsegError):
        return f"{problem}{where}"
    said = " ".join(str(problem).split())
    return f"a bug in medseg, please report it: {type(problem).__name__}: {said}{where}".rstrip(": ")


def without_names(told: str, images: Mapping[str, Path]) -> str:
    """The same with the inputs' names in place of paths and file names, which may hold a patient's name."""
    text = DESCRIPTIONS.sub(r"\1", told)
    for name, path in images.items():
        for hidden in (each for each in _hidden(path) if each in told):
            text = re.sub(rf"(?<!\w){re.escape(hidden)}(?!\w)", f"<{name}>", text)
    return text[:MOST_CHARACTERS]


def _hidden(path: Path) -> list[str]:
    """How a message could name an input or a file of it; the longest first."""
    whole = {path, path.absolute(), Path(os.path.realpath(path)), *_inside(path)}
    texts = {form for each in whole for form in (str(each), printable(each), each.name)}
    return sorted(texts - {"", "."}, key=len, reverse=True)


def _inside(folder: Path) -> Iterator[Path]:
    """Files below a folder, with it, without it and by themselves."""
    if not folder.is_dir():
        return
    for number, path in enumerate(folder.rglob("*")):
        if number >= MOST_FILES:
            return
        yield path
        yield path.relative_to(folder)
