"""Take a model out of a folder or a zip archive that somebody else made, without trusting a word of it.

Names, kinds, number and sizes are settled before a byte is written; what is written is counted again. No
permission, owner or time of the source is kept.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from medseg.errors import InputError, ModelError
from medseg.io.regular_file import require_regular
from medseg.model.contents import MAX_BYTES, Part, check_parts, check_path, inventory
from medseg.model.folder import PIPELINE

__all__ = ["Parcel", "opened"]

CHUNK_BYTES = 1 << 20
MAX_RATIO = 100
SMALL_BYTES = 1 << 20  # a member of this size or less may be as compressible as it likes
MAX_READ_BYTES = 4 << 20  # zipfile reads a whole directory at once; 1000 names take a few hundred kB
LOCAL_HEADER = b"PK\x03\x04"
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flag bits of APPNOTE 4.4.4: encrypted, strongly, with a masked directory
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
        written = 0
        with self.opener(name) as source, target.open("xb") as copy:
            while chunk := source.read(CHUNK_BYTES):
                written += len(chunk)
                if written > size:
                    raise ModelError(f"{name!r} is longer than the {size} bytes it was said to have")
                copy.write(chunk)
        if written != size:
            raise ModelError(f"{name!r} is cut short: {written} bytes of {size}")

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
    with source.open("rb") as raw:
        if raw.read(len(LOCAL_HEADER)) != LOCAL_HEADER:
            raise ModelError("is neither a model's folder nor a zip archive of one")
        with _unsound_as_model_error():
            archive = zipfile.ZipFile(_InPieces(raw))
        with archive:
            members = _members(archive)
            parts = tuple(Part(name, info.file_size) for name, info in members.items())
            yield Parcel(parts, lambda name: _member(archive, members[name]))


class _InPieces(io.BufferedIOBase):
    """An open file that refuses large reads: a directory of millions of names is not loaded."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, or the rest; raises ModelError where that is much."""
        if size is None or size < 0:
            start = self._file.tell()
            size = self._file.seek(0, os.SEEK_END) - start
            self._file.seek(start)
        if size > MAX_READ_BYTES:
            raise ModelError(f"its directory claims {size} bytes, more than that of a model takes")
        return self._file.read(size)

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
def _file(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file of a folder, and no link or FIFO that took its place since it was listed."""
    descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelError(f"{name!r} is not a plain file")
        yield file


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their path in the model; raises ModelError for what no model may hold."""
    infos = archive.infolist()
    for info in infos:
        _check_member(info)
    files = [info for info in infos if not info.orig_filename.endswith("/")]
    names = [info.orig_filename for info in files]
    roots = {name.partition("/")[0] for name in names}
    top = f"{next(iter(roots))}/" if PIPELINE not in names and len(roots) == 1 else ""
    if any(not name.startswith(top) for name in names):
        raise ModelError("is not a model: it has no pipeline.yaml")
    inner = [name.removeprefix(top) for name in names]
    check_parts([Part(name, info.file_size) for name, info in zip(inner, files, strict=True)])
    return dict(zip(inner, files, strict=True))


def _check_member(info: zipfile.ZipInfo) -> None:
    """Raise ModelError for what no member of a model's archive may be, whatever it is called."""
    name = info.orig_filename  # as it stands in the archive: `filename` ends at a null character
    kind = stat.S_IFMT(info.external_attr >> 16)
    folder = name.endswith("/")
    check_path(name.removesuffix("/"))
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG) or (folder and info.file_size):
        what = "a link" if stat.S_ISLNK(kind) else "a device or the like"
        raise ModelError(f"{name[:200]!r} is {what}; a model's archive holds plain files only")
    if info.flag_bits & ENCRYPTED:
        raise ModelError(f"{name[:200]!r} is encrypted; pack the model without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(f"{name[:200]!r} is compressed in a rare way; use deflate")
    if info.file_size > max(SMALL_BYTES, MAX_RATIO * info.compress_size):
        raise ModelError(
            f"{name[:200]!r} claims to become {info.file_size} bytes out of {info.compress_size}, "
            f"more than {MAX_RATIO} times as many"
        )


@contextmanager
def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    with _unsound_as_model_error(), archive.open(info) as file:
        yield file


@contextmanager
def _unsound_as_model_error() -> Iterator[None]:
    """What zipfile and zlib raise of a damaged archive, as a ModelError of one line."""
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
        raise ModelError("is a damaged zip archive; fetch it again") from problem
