"""What may lie in a model's folder: a few kinds of data files, plainly named, limited in number and size."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medseg.errors import ModelError
from medseg.io.regular_file import printable

__all__ = ["MAX_BYTES", "MAX_FILES", "Part", "check_forms", "check_parts", "check_path", "inventory"]

MAX_FILES = 1000
MAX_BYTES = 4 << 30  # all files together
MAX_OTHER_BYTES = 64 << 20  # all but the weights
MAX_TEXT_BYTES = 1 << 20  # one text
MAX_DEPTH = 4  # folders within folders
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
AT_ROOT = re.compile(r"(pipeline|card|recipe)\.yaml|(LICEN[CS]E|NOTICE)(-[A-Za-z0-9-]+(\.\d+)*)?")
ANYWHERE = re.compile(r".+\.(safetensors|md|txt|png)")
OTHER_WEIGHTS = {".bin", ".ckpt", ".h5", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Part:
    """A file of a model: its path in the folder, with forward slashes, and its size in bytes."""

    name: str
    size: int


def check_path(name: str) -> None:
    """Raise ModelError unless a path is plain, relative to the model's folder and inside it."""
    shown = repr(name[:200])
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise ModelError(f"{shown} leads out of the model's folder; a model's files lie in it")
    if len(parts) > MAX_DEPTH:
        raise ModelError(f"{shown} lies deeper than {MAX_DEPTH} levels")
    if not all(PLAIN.fullmatch(part) for part in parts):
        raise ModelError(
            f"{shown} is not plainly named: use at most 100 letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )


def _check_kind(name: str) -> None:
    """Raise ModelError unless a file of this name is of a kind that a model consists of."""
    if ANYWHERE.fullmatch(name) or AT_ROOT.fullmatch(name):
        return
    if PurePosixPath(name).suffix.lower() in OTHER_WEIGHTS:
        raise ModelError(f"{name!r} is no file of a model; weights are taken as .safetensors only")
    raise ModelError(
        f"{name!r} is no file of a model, which is pipeline.yaml, card.yaml, *.safetensors, recipe.yaml, "
        "LICENSE, *.md, *.txt and *.png; leave it out"
    )


def check_parts(parts: Sequence[Part]) -> None:
    """Raise ModelError unless these files together may be a model: names, kinds, number and sizes."""
    if len(parts) > MAX_FILES:
        raise ModelError(f"there are more than {MAX_FILES} files")
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for part in parts:
        check_path(part.name)
        _check_kind(part.name)
        key = part.name.casefold()
        _claim(files.get(key) or folders.get(key), part.name)
        files[key] = part.name
        for above in PurePosixPath(part.name).parents[:-1]:
            folder = above.as_posix()
            named = folders.setdefault(folder.casefold(), folder)
            _claim(files.get(folder.casefold()) or (named if named != folder else None), folder)
    total = sum(part.size for part in parts)
    if total > MAX_BYTES:
        raise ModelError(f"its files have {total} bytes, more than the {MAX_BYTES} a model may have")
    other = sum(part.size for part in parts if not part.name.endswith(".safetensors"))
    if other > MAX_OTHER_BYTES:
        raise ModelError(f"{other} bytes are not weights, more than the {MAX_OTHER_BYTES} allowed")


def _claim(taken: str | None, name: str) -> None:
    """Raise ModelError where a name is taken, as a file system sees it that ignores capitals."""
    if taken is not None:
        raise ModelError(f"{taken!r} and {name!r} are one name, or differ in capitals only")


def inventory(folder: Path) -> tuple[Part, ...]:
    """Every file in a model's folder, sorted by name; raises ModelError where one does not belong there.

    Links are not followed but refused, and so is whatever is neither a file nor a folder.
    """
    parts: list[Part] = []
    waiting, looked_at = [folder], 0
    while waiting:
        for entry in _entries(waiting.pop()):
            name = Path(entry.path).relative_to(folder).as_posix()
            looked_at += 1
            if looked_at > 2 * MAX_FILES:
                raise ModelError(f"there are more than {MAX_FILES} files")
            mode = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(mode.st_mode):
                check_path(name)
                waiting.append(Path(entry.path))
            elif stat.S_ISREG(mode.st_mode):
                parts.append(Part(name, mode.st_size))
            else:
                kind = "a link" if stat.S_ISLNK(mode.st_mode) else "a device, socket or FIFO"
                raise ModelError(f"{name[:200]!r} is {kind}; a model's folder holds plain files only")
    parts.sort(key=lambda part: part.name)
    check_parts(parts)
    return tuple(parts)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry, _ in zip(entries, range(2 * MAX_FILES + 1), strict=False)]
    except OSError as problem:
        raise ModelError(f"{printable(folder)} cannot be looked into: {problem.strerror}") from problem


def check_forms(folder: Path, parts: Iterable[Part]) -> None:
    """Raise ModelError where a text is none or a picture is none; weights have a check of their own."""
    for part in parts:
        suffix = PurePosixPath(part.name).suffix
        if suffix == ".safetensors":
            continue
        if suffix == ".png":
            with (folder / part.name).open("rb") as file:
                if file.read(len(PNG)) != PNG:
                    raise ModelError(f"{part.name!r} is no PNG picture")
            continue
        if part.size > MAX_TEXT_BYTES:
            raise ModelError(f"{part.name!r} has {part.size} bytes, and a text may have {MAX_TEXT_BYTES}")
        try:
            plain = "\0" not in (folder / part.name).read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            plain = False
        if not plain:
            raise ModelError(f"{part.name!r} is not a text in UTF-8")
