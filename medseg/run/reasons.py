"""Why a case failed, in two versions: for the terminal, and for files, which carry no path or name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from medseg.errors import MedsegError
from medseg.io.regular_file import is_folder, printable

__all__ = ["reason", "undescribed", "without_names"]

# What follows describes series in the words of whoever operated the scanner, or of the user.
DESCRIPTIONS = re.compile(r"(no series has description)=.*|, choose one with --series: .*")
MEMBER = re.compile(r"\bmember '[^']*'")  # a name in an archive, as medseg.io.archive_members writes it
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_FILES = 20_000
MOST_CHARACTERS = 1000
LEAST_DIGITS = 6  # of a number that may be a patient's; shorter ones are counts and sizes as a rule
UNUSABLE = (OSError, RuntimeError, ValueError)  # what a path does that cannot even be looked up


def reason(problem: BaseException) -> str:
    """A failure in one line, with the step and plugin it was in; for the terminal."""
    notes = "; ".join(getattr(problem, "__notes__", ()))
    where = f" [{notes}]" if notes else ""
    if isinstance(problem, MedsegError):
        return f"{problem}{where}"
    said = " ".join(str(problem).split())
    return f"a bug in medseg, please report it: {type(problem).__name__}: {said}{where}".rstrip(": ")


def without_names(told: str, images: Mapping[str, Path], out: Path | None = None) -> str:
    """The same with the inputs' names in place of paths and file names, which may hold a patient's name.

    The folders above the inputs and the output folder are hidden too. A short number stays, though a file may
    have it for its name: messages are full of numbers, and it tells nothing of a patient.
    """
    labels: dict[str, str] = {}  # how a path or name may be written, and what stands in its place
    for name, path in images.items():
        _add(labels, told, f"<{name}>", _written(_ways(path) + list(_inside(path)), bare=True))
    bare = set(labels)
    if out is not None:
        _add(labels, told, "<out>", _written(_ways(out)))
    for name, path in [*images.items(), *([] if out is None else [("out", out)])]:
        parents = [parent for way in _ways(path) for parent in way.parents]
        _add(labels, told, f"<folder of {name}>", _written(parents))
    text = MEMBER.sub("a member", undescribed(told))
    if labels:
        # a folder as it was typed may be a plain word, `in` or `out`: it must look like a path there
        ends = {each: "" if each in bare or "/" in each else "(?=[/:])" for each in labels}
        each = "|".join(re.escape(each) + ends[each] for each in sorted(labels, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{each})(?!\w)", lambda found: labels[found[0]], text)
    return text[:MOST_CHARACTERS]


def undescribed(told: str) -> str:
    """A failure without the list of series that it ends with, which repeats their descriptions."""
    return DESCRIPTIONS.sub(lambda found: found[1] or "", told)


def _add(labels: dict[str, str], told: str, label: str, texts: Iterable[str]) -> None:
    """Note what occurs in a message and is no number; what is noted already stays as it is."""
    for text in texts:
        if text in told and not _is_number(text):
            labels.setdefault(text, label)


def _is_number(text: str) -> bool:
    """Whether a relative path or name has no letter and few digits, as `3`, `1.5` or `..`."""
    few = not any(c.isalpha() for c in text) and sum(c.isdigit() for c in text) < LEAST_DIGITS
    return few and (not text.startswith("/") or not text.strip("/"))


def _ways(path: Path) -> list[Path]:
    """A path as typed, absolute, and with its links followed."""
    ways = [path]
    with suppress(*UNUSABLE):
        ways.append(path.absolute())
    with suppress(*UNUSABLE):
        ways.append(Path(os.path.realpath(path)))
    return ways


def _written(paths: Iterable[Path], *, bare: bool = False) -> Iterator[str]:
    """How messages write paths, and with `bare` their last parts by themselves: plain, escaped, quoted."""
    for path in paths:
        for each in (path, Path(path.name)) if bare else (path,):
            text = str(each)
            for form in (text, printable(each), repr(text)[1:-1]):
                yield from (form, " ".join(form.split()))


def _inside(folder: Path) -> Iterator[Path]:
    """Files below a folder, with it and without it, or in an archive; none of any other file."""
    if not is_folder(folder):
        if folder.name.lower().endswith(ARCHIVES):
            from medseg.io.archive import member_names

            yield from (Path(name) for name in islice(member_names(folder), MOST_FILES))
        return
    with suppress(*UNUSABLE):
        for number, path in enumerate(folder.rglob("*")):
            if number >= MOST_FILES:
                return
            yield path
            yield path.relative_to(folder)
