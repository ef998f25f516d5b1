"""Take a model out of a folder or a zip archive that somebody else made, without trusting a word of it.

Names, kinds, number and sizes are settled before a byte is written; what is written is counted again. No
permission, owner or time of the source is kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from medseg.errors import InputError, ModelError
from medseg.io.archive_members import Limits, Member, copied
from medseg.io.regular_file import require_regular
from medseg.io.zip_members import ZipMembers, open_zip
from medseg.model.contents import MAX_BYTES, MAX_FILES, Part, check_parts, check_path, inventory
from medseg.model.folder import PIPELINE

__all__ = ["Parcel", "opened"]

LIMITS = Limits(
    members=2 * MAX_FILES,  # folders too
    total_bytes=2 * MAX_BYTES,  # `check_parts` says it better
    directory_bytes=4 << 20,  # 1000 names take a few hundred kB
    ratio=100,
    small_bytes=1 << 20,
    small_total_bytes=2 * MAX_BYTES,
)
LOCAL_HEADER = b"PK\x03\x04"
Opener = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Parcel:
    """A model's files as they lie in an open folder or archive: names, sizes and how to read one."""

    parts: tuple[Part, ...]
    opener: Opener

    def copy(self, name: str, folder: Path) -> None:
        """Write the file of this name into a folder; raises ModelError where it is not as was said."""
        size = next((part.size for part in self.parts if part.name == name), None)
        if size is None:
            raise ModelError(f"is not a model: it has no {name}")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with _as_model_error(), self.opener(name) as source:
            copied(source, target, Member(0, name, size))

    def copy_all(self, folder: Path) -> None:
        """Write every file into a folder that has none of them."""
        for part in self.parts:
            self.copy(part.name, folder)


@contextmanager
def opened(source: Path) -> Iterator[Parcel]:
    """The model in a folder or zip archive; raises ModelError where it holds what no model may hold."""
    try:
        status = require_regular(source, or_folder=True)
    except InputError as problem:
        raise ModelError("no such folder or zip archive") from problem
    if stat.S_ISDIR(status.st_mode):
        yield Parcel(inventory(source), partial(_file, source))
        return
    if status.st_size > MAX_BYTES:
        raise ModelError(f"has {status.st_size} bytes, more than the {MAX_BYTES} a model may have")
    with source.open("rb") as raw, _as_model_error():
        if raw.read(len(LOCAL_HEADER)) != LOCAL_HEADER:
            raise ModelError("is neither a model's folder nor a zip archive of one")
        with open_zip(raw, LIMITS) as archive:
            members = _members(archive)
            parts = tuple(Part(name, member.size) for name, member in members.items())
            yield Parcel(parts, lambda name: archive.open(members[name]))


@contextmanager
def _as_model_error() -> Iterator[None]:
    """What is wrong with an archive is wrong with the model in it."""
    try:
        yield
    except InputError as problem:
        raise ModelError(str(problem)) from problem


@contextmanager
def _file(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file of a folder, and no link or FIFO that took its place since it was listed."""
    descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelError(f"{name!r} is not a plain file")
        yield file


def _members(archive: ZipMembers) -> dict[str, Member]:
    """The files of an archive by their path in the model; raises ModelError for what no model may hold."""
    for member in archive.members:
        check_path(member.name)
    files = [member for member in archive.members if not member.is_folder]
    names = [member.name for member in files]
    roots = {name.partition("/")[0] for name in names}
    top = f"{next(iter(roots))}/" if PIPELINE not in names and len(roots) == 1 else ""
    if any(not name.startswith(top) for name in names):
        raise ModelError("is not a model: it has no pipeline.yaml")
    inner = [name.removeprefix(top) for name in names]
    check_parts([Part(name, member.size) for name, member in zip(inner, files, strict=True)])
    return dict(zip(inner, files, strict=True))
