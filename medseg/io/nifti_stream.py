"""The bytes of a NIfTI image: which files hold them, and their content, unpacked where it is gzip.

A `.nii` holds header and voxels; of a pair, `.hdr` holds the header and `.img` the voxels. Gzip goes through
ISA-L, which checks each member's CRC-32 and length as the standard library does, several times faster.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from isal import igzip, igzip_lib, igzip_threaded

from medseg.errors import InputError
from medseg.io.nifti_header import GZIP_MAGIC, Header, header_bytes, parse
from medseg.io.regular_file import HashedFile, open_regular, open_seekable, printable

__all__ = ["Opened", "Stream", "compressor", "exactly", "nifti_files", "opened", "skip"]

Stream: TypeAlias = io.RawIOBase | gzip.GzipFile

CHUNK_BYTES = 1 << 20  # what is unpacked at once stays in the processor's cache until it is copied
MOST_EXTENSION_BYTES = 1 << 26
OTHER_HALF = {".hdr": ".img", ".img": ".hdr", ".hdr.gz": ".img.gz", ".img.gz": ".hdr.gz"}
# A 512 x 512 x 300 CT takes, at ISA-L's levels 1, 2 and 3, 0.20, 0.23 and 0.24 s and 90.1, 87.5 and 87.1 MB
# (nibabel's default, zlib level 1: 1.7 s and 85.8 MB); a real CT, resampled to that size, 82.6, 80.7 and 82.1
# MB; its label map 1.22, 1.22 and 1.43 MB. Level 0 is not faster and 20 % larger.
LEVEL = 2
THREADS = 2  # the bytes written do not depend on it


@dataclass(frozen=True)
class Opened:
    """An open NIfTI image whose header has been read; `stream` stands at `position`, ahead of the voxels.

    `told` are the bytes between header and voxels as far as they have been read: all of them in a pair.
    """

    files: tuple[Path, ...]
    hashed: tuple[HashedFile, ...]
    block: bytes
    header: Header
    told: bytes
    stream: Stream
    position: int

    @property
    def name(self) -> str:
        """The file that holds the header, for messages."""
        return printable(self.files[0])

    @property
    def voxels_name(self) -> str:
        """The file that holds the voxels, for messages."""
        return printable(self.files[-1])

    @property
    def size(self) -> int:
        """Bytes on disk of the file that holds the voxels."""
        return self.hashed[-1].size

    @property
    def compressed(self) -> bool:
        """Whether the voxels are gzip."""
        return self.stream is not self.hashed[-1]

    def sha256(self) -> tuple[str, ...]:
        """One digest per file; reads what is left of each."""
        return tuple(file.sha256() for file in self.hashed)


def nifti_files(path: Path) -> tuple[Path, ...]:
    """The files that make up the image: the one given, or .hdr and .img given either.

    The halves of a pair have the same stem, and suffixes in any case, both with .gz or both without. Raises
    InputError where the other half is missing or there are several.
    """
    suffix = next((s for s in OTHER_HALF if path.name.lower().endswith(s)), None)
    if suffix is None:
        return (path,)
    stem, wanted = path.name[: -len(suffix)], OTHER_HALF[suffix]
    beside = (other.name for other in path.parent.iterdir())
    found = sorted(n for n in beside if n.startswith(stem) and n[len(stem) :].lower() == wanted)
    if not found:
        missing = printable(Path(stem + wanted))
        raise InputError(
            f"{printable(path)}: half of a .hdr/.img pair: {missing} is missing beside it; copy it there"
        )
    if len(found) > 1:
        which = " or ".join(printable(Path(n)) for n in found)
        raise InputError(f"{printable(path)}: half of a .hdr/.img pair: with {which}? Keep one of them")
    other = path.with_name(found[0])
    return (path, other) if suffix.startswith(".hdr") else (other, path)


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open the image that `path` is, or is half of, and read its header.

    All that is wrong with the files as such, while they are read too, is an InputError.
    """
    files = nifti_files(path)
    name = printable(files[0])
    with open_regular(files[0]) as file:
        if len(files) == 1:
            with _unpacked(path, file) as stream:
                block = header_bytes(stream.read, name)
                header = parse(block, name)
                yield Opened(files, (file,), block, header, b"", stream, len(block))
            return
        with _unpacked(files[0], file) as stream:
            block = header_bytes(stream.read, name)
            told = exactly(stream, MOST_EXTENSION_BYTES + 1)
        if len(told) > MOST_EXTENSION_BYTES:
            raise InputError(f"{name}: wrong size: more than 64 MiB behind a header; is it the .img?")
        header = parse(block, name, pair=True)
        with open_regular(files[1]) as voxels, _unpacked(files[1], voxels) as stream:
            yield Opened(files, (file, voxels), block, header, told, stream, 0)


@contextmanager
def _unpacked(path: Path, file: HashedFile) -> Iterator[Stream]:
    """The file's content; what gzip finds wrong (length, CRC-32, garbage) becomes an InputError."""
    name = printable(path)
    try:
        if path.name.lower().endswith(".gz"):
            raw = io.BufferedReader(file, CHUNK_BYTES)
            try:
                with igzip.IGzipFile(fileobj=raw, mode="rb") as stream:  # type: ignore[no-untyped-call]  # isal has no types here
                    yield stream
            finally:
                raw.detach()  # so that it does not close the file, whose digest is still wanted
        else:
            yield file
    except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError) as problem:  # type: ignore[misc]  # isal's stub calls the class an instance
        foreign = _behind_gzip(path)
        if foreign:
            raise InputError(
                f"{name}: wrong size: other data ({foreign} B) behind its gzip data; copy or export it again"
            ) from problem
        if not isinstance(problem, EOFError):
            raise InputError(f"{name}: corrupt gzip data ({problem}); copy the file again") from problem
        raise InputError(f"{name}: truncated: the gzip stream ends early; copy the file again") from problem
    except OSError as problem:
        raise InputError(f"{name}: cannot be read ({problem.strerror or problem})") from problem


def _behind_gzip(path: Path) -> int:
    """How many bytes follow a file's gzip members and begin no other, zeros aside; 0 where one is broken.

    Only asked once reading has failed, as ISA-L takes some of them for a member that is cut.
    """
    with open_seekable(path) as file:
        rest, members = file.read(CHUNK_BYTES), 0
        while True:
            rest = rest.lstrip(b"\0") if members else rest
            more = file.read(CHUNK_BYTES) if len(rest) < len(GZIP_MAGIC) else b""
            rest += more
            if more:
                continue
            if not rest.startswith(GZIP_MAGIC):
                return len(rest) + os.fstat(file.fileno()).st_size - file.tell() if members else 0
            member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            try:
                while rest and not member.eof:
                    member.decompress(rest, CHUNK_BYTES)
                    rest = member.unconsumed_tail or member.unused_data or file.read(CHUNK_BYTES)
            except zlib.error:
                return 0
            if not member.eof:
                return 0
            members += 1


def exactly(stream: Stream, count: int) -> bytes:
    """The next `count` bytes, or fewer at the end of the stream."""
    parts = bytearray()
    while len(parts) < count:
        part = stream.read(min(count - len(parts), CHUNK_BYTES))
        if not part:
            break
        parts += part
    return bytes(parts)


def skip(stream: Stream, count: int) -> int:
    """Pass over the next `count` bytes, keeping none; returns how many there were."""
    passed = 0
    while passed < count:
        part = stream.read(min(count - passed, CHUNK_BYTES))
        if not part:
            break
        passed += len(part)
    return passed


@contextmanager
def compressor(path: Path) -> Iterator[BinaryIO]:
    """A new file to write to, gzip where its name says so.

    Gzip gets no time and no name, so that equal images give equal files.
    """
    with path.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            with igzip_threaded.open(file, "wb", LEVEL, threads=THREADS) as stream:  # type: ignore[no-untyped-call]  # nor here
                yield stream
        else:
            yield file
