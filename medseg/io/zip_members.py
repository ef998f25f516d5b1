"""The members of a zip archive, checked as far as its directory goes before any of them is read."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from medseg.errors import InputError
from medseg.io.archive_members import Limits, Member, check_total, quoted

__all__ = ["ZipMembers", "open_zip"]

LOCAL_HEADER_BYTES = 30  # and the name
DIRECTORY_ENTRY = b"PK\x01\x02"
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flag bits of APPNOTE 4.4.4: encrypted, strongly, with a masked directory


class ZipMembers:
    """Members of an open zip archive, in the order of its directory."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos = archive.infolist()
        self.members = tuple(
            Member(number, name.removesuffix("/"), info.file_size, name.endswith("/"))
            for number, info in enumerate(self._infos)
            for name in (info.orig_filename,)  # as it stands there: `filename` ends at a null character
        )

    @contextmanager
    def open(self, member: Member) -> Iterator[IO[bytes]]:
        """One member for reading, in any order; its checksum is compared at its end."""
        with _sound(), self._archive.open(self._infos[member.number]) as file:
            yield file


@contextmanager
def open_zip(raw: IO[bytes], limits: Limits) -> Iterator[ZipMembers]:
    """The members of a zip archive; raises InputError for what no archive may hold, damage included."""
    with _sound():
        size = raw.seek(0, os.SEEK_END)
        archive = zipfile.ZipFile(_InPieces(raw, limits))
    with archive:
        infos = archive.infolist()
        for info in infos:
            _check(info, limits)
        _refuse_overlap(infos, archive.start_dir)
        members = ZipMembers(archive)
        check_total(members.members, limits, size)
        yield members


def _check(info: zipfile.ZipInfo, limits: Limits) -> None:
    """Raise InputError for what no member may be, whatever it is called."""
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    folder = name.endswith("/")
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG) or (folder and info.file_size):
        what = "a link" if stat.S_ISLNK(kind) else "a device or the like"
        raise InputError(f"{quoted(name)} is {what}; pack plain files only")
    if info.flag_bits & ENCRYPTED:
        raise InputError(f"{quoted(name)} is encrypted; pack it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{quoted(name)} is compressed in a rare way; use deflate")
    limits.require(name, info.file_size, info.compress_size)


def _refuse_overlap(infos: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Two members made of the same bytes are how a small archive becomes a large one at full ratio each."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for info, following in zip(ordered, [*(info.header_offset for info in ordered), end][1:], strict=True):
        if info.header_offset + LOCAL_HEADER_BYTES + info.compress_size > following:
            raise InputError(f"{quoted(info.orig_filename)} overlaps what comes after it; pack it again")


class _InPieces(io.BufferedIOBase):
    """An open file that refuses large reads and long directories: one of millions of names is not loaded."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file = file
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, or the rest; raises InputError where that is more than a directory takes."""
        if size is None or size < 0:
            start = self._file.tell()
            size = self._file.seek(0, os.SEEK_END) - start
            self._file.seek(start)
        if size > self._limits.directory_bytes:
            raise InputError(f"its directory claims {size} bytes, more than a sound archive takes")
        data = self._file.read(size)
        if data.startswith(DIRECTORY_ENTRY) and data.count(DIRECTORY_ENTRY) > 2 * self._limits.members:
            raise InputError(f"there are more than {self._limits.members} files in it")
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a place and return it."""
        if whence == os.SEEK_SET and offset < 0:
            raise zipfile.BadZipFile("a member lies before the start")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The current place."""
        return self._file.tell()

    def seekable(self) -> bool:
        """True: it is a file."""
        return True

    def readable(self) -> bool:
        """True: it is for reading."""
        return True


@contextmanager
def _sound() -> Iterator[None]:
    """What zipfile and zlib raise of a damaged archive, as an InputError of one line."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        LookupError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as problem:
        raise InputError("is a damaged zip archive; fetch it again") from problem
