"""What a member of any archive must be like, and how it is copied out: counted, no further than it said."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from medseg.errors import InputError

__all__ = ["Archive", "Limits", "Member", "check_total", "copied", "parts_of", "quoted"]

CHUNK_BYTES = 1 << 20
MOST_SHOWN = 200  # characters of a name
MOST_DEPTH = 12  # folders
MOST_PART_BYTES = 255  # of one part of a path: what file systems take


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold; beyond that it is refused before anything is written."""

    members: int
    total_bytes: int
    """All members together."""
    directory_bytes: int
    """Of a zip's directory, and of one extended header of a tar."""
    ratio: int
    """How many times larger than it was packed a member, or all of them, may become."""
    small_bytes: int
    """A member of this size or less may be as compressible as it likes."""
    small_total_bytes: int
    """The same for all members together."""

    def require(self, name: str, size: int, packed: int) -> None:
        """Raise InputError where a member claims to become far more than it was packed into."""
        if size > max(self.small_bytes, self.ratio * packed):
            raise InputError(
                f"{quoted(name)} claims to become {size} bytes out of {packed}, more than {self.ratio} times "
                "as many"
            )


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive: its place in the order of members, its name, its size in bytes."""

    number: int
    name: str
    """As it stands in the archive, without the slash at a folder's end."""
    size: int
    is_folder: bool = False


class Archive(Protocol):
    """Members of an archive in the order in which they lie there."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Every member, folders too; links, devices and the like were refused."""

    def open(self, member: Member) -> AbstractContextManager[IO[bytes]]:
        """One member for reading; of a compressed tar, none that lies before the last one opened."""


def quoted(name: str) -> str:
    """A member's name as messages write it: one printable line in quotes, easy to find for who hides it."""
    shown = "".join(c if c.isprintable() and c != "'" else f"\\x{ord(c):02x}" for c in name[:MOST_SHOWN])
    return f"member '{shown}'"


def check_total(members: tuple[Member, ...], limits: Limits, packed: int) -> None:
    """Raise InputError where there are too many members, or all of them are too large together."""
    if len(members) > limits.members:
        raise InputError(f"there are more than {limits.members} files in it")
    total = sum(member.size for member in members)
    if total > limits.total_bytes:
        raise InputError(f"claims to become {total} bytes, more than the {limits.total_bytes} allowed")
    if total > max(limits.small_total_bytes, limits.ratio * packed):
        raise InputError(
            f"claims to become {total} bytes out of {packed}, more than {limits.ratio} times as many"
        )


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a member's path, () for the archive's own folder; raises InputError where it leads away.

    A path that starts with `./`, as tar writes it, is as good as one without.
    """
    if name.startswith("/") or "\\" in name or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{quoted(name)} leads out of the archive's folder; what it holds must lie in it")
    inner = re.sub(r"^(\./+)+", "", f"{name}/").rstrip("/")
    parts = tuple(inner.split("/")) if inner else ()
    if len(parts) > MOST_DEPTH:
        raise InputError(f"{quoted(name)} lies deeper than {MOST_DEPTH} folders")
    if not all(_is_plain(part) for part in parts):
        raise InputError(f"{quoted(name)} is no name for a file; pack it again with plain names")
    return parts


def _is_plain(part: str) -> bool:
    try:
        size = len(os.fsencode(part))
    except UnicodeEncodeError:
        return False
    return 0 < size <= MOST_PART_BYTES and part != "." and all(ord(c) >= 32 and ord(c) != 127 for c in part)


def copied(source: IO[bytes], target: Path, member: Member) -> bytes:
    """Write a member into a new file and return its first bytes; refuses one that is longer or shorter."""
    first, written = b"", 0
    with target.open("xb") as copy:
        while chunk := source.read(CHUNK_BYTES):
            first = first or chunk
            written += len(chunk)
            if written > member.size:
                raise InputError(
                    f"{quoted(member.name)} is longer than the {member.size} bytes it was said to have"
                )
            copy.write(chunk)
    if written != member.size:
        raise InputError(f"{quoted(member.name)} is cut short: {written} bytes of {member.size}")
    return first
