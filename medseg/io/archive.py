"""Unpack a zip or tar archive that somebody else made, without trusting a word of it.

Names, kinds, number and sizes are settled before a byte is written; what is written is counted again. It goes
into a private folder that is gone afterwards, whatever happens. No permission, owner or time is kept, and
nothing is made but plain files and the folders that they lie in.

    with unpacked(Path("study.zip")) as contents:
        volume = read_dicom(contents.folder)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from medseg.errors import InputError, ResourceError
from medseg.io.archive_members import Archive, Limits, Member, copied, parts_of, quoted
from medseg.io.content import PEEK_BYTES, by_content, counted, seen
from medseg.io.regular_file import open_seekable, printable

__all__ = ["Unpacked", "member_names", "unpacked"]

LIMITS = Limits(
    members=200_000,
    total_bytes=64 << 30,
    directory_bytes=64 << 20,  # 200 000 long names
    ratio=200,  # deflate reaches 1032 on zeros; a CT 2 to 4, a mask well below 100
    small_bytes=4 << 20,  # a member of this size or less, an empty slice, may be as compressible as it likes
    small_total_bytes=1 << 30,
)
RESERVE_BYTES = 256 << 20  # of the disk that stay free
NESTED = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
NESTED_CONTENT = ("a zip archive", "a tar archive", "a tar.gz archive")


@dataclass(frozen=True)
class Unpacked:
    """An archive's files in a private folder of its name, and the SHA-256 of the archive."""

    folder: Path
    sha256: str


@contextmanager
def unpacked(path: Path) -> Iterator[Unpacked]:
    """The files of an archive of DICOM in a folder that is removed afterwards.

    Raises InputError where the archive is damaged or hostile, or holds no DICOM; ResourceError where there is
    no room for it.
    """
    with _scratch(path) as scratch:
        folder = scratch / path.name  # messages about what is in it name the archive
        with open_seekable(path) as raw, _named(path):
            kinds = _unpack(raw, folder)
            if not kinds["DICOM"]:
                what = counted(kinds) or "no files"
                raise InputError(f"holds {what}, no DICOM; unpack it and give the image itself")
            raw.seek(0)
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
        with _named(path):
            yield Unpacked(folder, digest)


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A folder of this process's own (mode 0700), removed afterwards.

    In TMPDIR where that is set, and nowhere else then: tempfile would pass over one that cannot be used, and
    patient data would lie where nobody meant them to.
    """
    wanted = os.environ.get("TMPDIR")
    try:
        folder = tempfile.TemporaryDirectory(prefix="medseg-", dir=wanted or None, ignore_cleanup_errors=True)
    except OSError as problem:
        todo = "TMPDIR must be a folder that can be written to" if wanted else "set TMPDIR"
        raise ResourceError(
            f"{printable(path)}: there is nowhere to unpack it ({problem.strerror}); {todo}"
        ) from problem
    with folder as name:
        yield Path(name)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the archive in what is wrong with it or, unless that is named after it already, its contents."""
    try:
        yield
    except (InputError, ResourceError) as problem:
        if str(problem).startswith(f"{path.name}: "):
            raise
        raise type(problem)(f"{printable(path)}: {problem}") from problem


@contextmanager
def _opened(raw: IO[bytes]) -> Iterator[Archive]:
    """The members of a zip, tar or tar.gz archive, checked as far as can be without writing any."""
    start = raw.read(PEEK_BYTES)
    raw.seek(0)
    if by_content(start) == "a zip archive":
        from medseg.io.zip_members import open_zip

        with open_zip(raw, LIMITS) as archive:
            yield archive
        return
    from medseg.io.tar_members import open_tar

    yield open_tar(raw, LIMITS, gzipped=start.startswith(b"\x1f\x8b"))


def member_names(path: Path) -> Iterator[str]:
    """Names in an archive, none where it is unsound: what messages about its contents may repeat."""
    with suppress(InputError, OSError, MemoryError), open_seekable(path) as raw, _opened(raw) as archive:
        yield from (member.name for member in archive.members)


# ------------------------------------------------------------------ unpacking
def _unpack(raw: IO[bytes], folder: Path) -> Counter[str]:
    """Write an archive's files below a new folder; returns how many of each kind there are."""
    kinds: Counter[str] = Counter()
    with _opened(raw) as archive:
        targets = _targets(archive.members)
        _require_room(folder.parent, sum(member.size for member in archive.members))
        try:
            folder.mkdir()
            for member, target in targets:
                file = folder / target
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source:
                    start = copied(source, file, member)[:PEEK_BYTES]
                if not any(part.startswith(".") for part in target.parts):  # not read from a folder either
                    kinds[_kind(member, target, start)] += 1
        except OSError as problem:
            raise ResourceError(f"cannot be unpacked: {problem.strerror}") from problem
    return kinds


def _kind(member: Member, target: PurePosixPath, start: bytes) -> str:
    kind = seen(Path(target), start)
    if kind in NESTED_CONTENT:
        raise _nested(member)
    return kind


def _nested(member: Member) -> InputError:
    return InputError(
        f"{quoted(member.name)} is an archive within the archive; unpack it and give its folder"
    )


def _targets(members: tuple[Member, ...]) -> list[tuple[Member, PurePosixPath]]:
    """Where each file goes, below the folder to be; refuses paths that lead away or come twice."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    targets = []
    for member in members:
        path = PurePosixPath(*parts_of(member.name))
        if not path.parts and not member.is_folder:
            raise InputError(f"{quoted(member.name)} is no name for a file; pack it again with plain names")
        if not member.is_folder:
            _claim(files, path, member, folders)
            targets.append((member, path))
        for folder in [*([path] if member.is_folder and path.parts else []), *path.parents][:-1]:
            key = folder.as_posix().casefold()
            if key in files:
                raise _twice(member, files[key])
            folders.setdefault(key, member.name)
        if not member.is_folder and member.name.lower().endswith(NESTED):
            raise _nested(member)
    return targets


def _claim(files: dict[str, str], path: PurePosixPath, member: Member, folders: dict[str, str]) -> None:
    """Note a file's path; refuses one that is taken, as a file system sees it that ignores capitals."""
    key = path.as_posix().casefold()
    taken = files.get(key) or folders.get(key)
    if taken is not None:
        raise _twice(member, taken)
    files[key] = member.name


def _twice(member: Member, taken: str) -> InputError:
    return InputError(f"{quoted(taken)} and {quoted(member.name)} are one path; pack it again")


def _require_room(folder: Path, total: int) -> None:
    """Raise ResourceError where a disk has no room for so many bytes."""
    free = shutil.disk_usage(folder).free - RESERVE_BYTES
    if total > free:
        raise ResourceError(
            f"becomes {total / 2**30:.1f} GiB, and {max(0, free) / 2**30:.1f} GiB can be used in "
            f"{folder.parent}; set TMPDIR to a folder on a larger disk"
        )
