"""The members of a tar archive, compressed by gzip or not; read to its last byte before any of them is used.

Only what every tar program has written for decades: plain files and folders, long names, pax headers. A tar
has no directory: one that is cut at a header looks whole but for the empty block at its end, so that must be
there.
"""

from __future__ import annotations

import gzip
import os
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from isal import igzip, igzip_lib

from medseg.errors import InputError
from medseg.io.archive_members import Limits, Member, check_total, quoted

__all__ = ["TarMembers", "open_tar"]

BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 1 << 20
MOST_HEADER_BYTES = 1 << 16  # of a pax header or long name; real ones have a few hundred
MOST_EXTENDED = 8  # headers before one member's own: a pax header, a global one, two long names
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
REFUSED = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class TarMembers:
    """Members of an open tar archive; read in order, which a compressed one cannot do without."""

    def __init__(self, raw: IO[bytes], listed: list[tuple[Member, int]], *, gzipped: bool) -> None:
        self.members = tuple(member for member, _ in listed)
        self._starts = [start for _, start in listed]
        raw.seek(0)
        self._stream = _Stream(raw, gzipped=gzipped)

    @contextmanager
    def open(self, member: Member) -> Iterator[IO[bytes]]:
        """One member for reading; none that lies before the last one opened."""
        with _sound():
            self._stream.skip_to(self._starts[member.number])
            yield _Part(self._stream, member.size)  # type: ignore[misc]  # of a file it has what copying needs


def open_tar(raw: IO[bytes], limits: Limits, *, gzipped: bool) -> TarMembers:
    """The members of a tar archive; raises InputError for what no archive may hold, damage included."""
    size = raw.seek(0, os.SEEK_END)
    raw.seek(0)
    most = min(limits.total_bytes, max(limits.small_total_bytes, limits.ratio * size))
    with _sound():
        stream = _Stream(raw, gzipped=gzipped, most=most + 2 * BLOCK * limits.members)
        listed = []
        for member, start in _listed(stream):
            listed.append((member, start))
            if len(listed) > limits.members:
                raise InputError(f"there are more than {limits.members} files in it")
            if member.size > limits.total_bytes:
                raise InputError(
                    f"{quoted(member.name)} claims {member.size} bytes; it is damaged or hostile"
                )
        stream.require_end()
    members = TarMembers(raw, listed, gzipped=gzipped)
    check_total(members.members, limits, size)
    return members


def _listed(stream: _Stream) -> Iterator[tuple[Member, int]]:
    """Each member and where its bytes start, up to the empty block at the end."""
    number, extended, said = 0, 0, dict[str, str]()
    while any(block := stream.exactly(BLOCK)):
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, *LONG_NAMES):
            extended += 1
            if extended > MOST_EXTENDED:
                raise InputError("has too many extended headers for one member; it is damaged or hostile")
            text = stream.exactly(_padded(_header_size(info)))[: info.size]
            if info.type == tarfile.GNUTYPE_LONGNAME:
                said["path"] = text.split(b"\0")[0].decode("utf-8", "surrogateescape")
            elif info.type == tarfile.XHDTYPE:
                said |= _records(text)
            elif info.type == tarfile.XGLTYPE and {"path", "size"} & _records(text).keys():
                raise InputError("gives all its members one name or size; pack it again")
            continue
        member = _member(number, info, said)
        yield member, stream.place
        stream.skip_to(stream.place + _padded(member.size))
        number, extended, said = number + 1, 0, {}


def _header_size(info: tarfile.TarInfo) -> int:
    if not 0 <= info.size <= MOST_HEADER_BYTES:
        raise InputError(f"has an extended header of {info.size} bytes; at most {MOST_HEADER_BYTES} are read")
    return info.size


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _member(number: int, info: tarfile.TarInfo, said: dict[str, str]) -> Member:
    """A member as its own header and the extended ones before it say; refuses all but files and folders."""
    name = said.get("path", info.name)
    if info.type not in (*PLAIN, tarfile.DIRTYPE) or any(key.startswith("GNU.sparse") for key in said):
        what = REFUSED.get(info.type, "a sparse file" if info.type in PLAIN else "no plain file")
        raise InputError(f"{quoted(name)} is {what}; pack plain files only")
    size = int(said["size"]) if "size" in said else info.size
    is_folder = info.type == tarfile.DIRTYPE
    if size < 0 or (is_folder and size):
        raise InputError(f"{quoted(name)} claims {size} bytes; the archive is damaged or hostile")
    return Member(number, name.rstrip("/") if is_folder else name, size, is_folder)


def _records(text: bytes) -> dict[str, str]:
    """What a pax header says: records of `length keyword=value` and a line break, as long as they claim."""
    values: dict[str, str] = {}
    while text.rstrip(b"\0"):
        digits, blank, _ = text.partition(b" ")
        if not blank or not digits.isdigit() or len(digits) > 6 or not len(digits) < int(digits) <= len(text):
            raise ValueError("a damaged pax header")
        record, text = text[: int(digits)], text[int(digits) :]
        keyword, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or record[-1:] != b"\n":
            raise ValueError("a damaged pax header")
        values[keyword.decode()] = value.decode("utf-8", "surrogateescape")
    return values


class _Stream:
    """The bytes of a tar from first to last: none twice, none past `most`."""

    def __init__(self, raw: IO[bytes], *, gzipped: bool, most: int | None = None) -> None:
        self._file = raw
        if gzipped:
            self._file = cast("IO[bytes]", igzip.IGzipFile(fileobj=raw, mode="rb"))  # type: ignore[no-untyped-call]  # isal has no types here
        self._gzipped = gzipped
        self._most = most
        self.place = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end."""
        data = self._file.read(min(size, CHUNK_BYTES))
        self.place += len(data)
        if self._most is not None and self.place > self._most:
            raise InputError(f"becomes more than {self._most} bytes, far more than it was packed into")
        return data

    def exactly(self, size: int) -> bytes:
        """`size` bytes; raises InputError where there are fewer."""
        pieces = []
        while size:
            piece = self.read(size)
            if not piece:
                raise InputError("is cut off; fetch it again")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def skip_to(self, place: int) -> None:
        """Go on to a later place; raises InputError where the archive ends before it."""
        if place < self.place:
            raise ValueError("a member lies before the one that was read last")
        if not self._gzipped and place > self.place:
            self.place = self._file.seek(place)  # beyond the end, the next read finds nothing
        while self.place < place:
            if not self.read(place - self.place):
                raise InputError("is cut off; fetch it again")

    def require_end(self) -> None:
        """Read the rest, which must be empty; a compressed archive checks its sum there."""
        while piece := self.read(CHUNK_BYTES):
            if any(piece):
                raise InputError("goes on after its end; pack it again")


class _Part:
    """One member's share of a stream."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the member's end."""
        data = self._stream.read(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data


@contextmanager
def _sound() -> Iterator[None]:
    """What tarfile and the gzip reader raise of a damaged archive, as an InputError of one line."""
    try:
        yield
    except (
        tarfile.TarError,
        gzip.BadGzipFile,
        igzip_lib.IsalError,
        zlib.error,
        struct.error,
        EOFError,
        LookupError,
        ValueError,
    ) as problem:  # type: ignore[misc]  # isal's stub calls the class an instance
        raise InputError("is a damaged tar archive; fetch it again") from problem
