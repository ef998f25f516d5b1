"""Open a file that somebody else made: regular files only, none that would block, hashed while read."""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medseg.errors import InputError

__all__ = ["HashedFile", "is_folder", "open_regular", "open_seekable", "printable", "require_regular"]

CHUNK_BYTES = 1 << 20
REASONS = {
    errno.ENOENT: "does not exist; check the path (a link may point to nothing)",
    errno.ENOTDIR: "does not exist: a part of the path is a file, not a folder",
    errno.ELOOP: "is a loop of symbolic links; give the file itself",
    errno.EACCES: "permission denied; make it readable for this user",
    errno.EPERM: "permission denied; make it readable for this user",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


def printable(path: Path) -> str:
    """The path as one printable line: line breaks, control codes and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False too where that cannot be looked up, as for too long a name."""
    try:
        return path.is_dir()
    except (OSError, RuntimeError):  # pathlib lets all but a missing file through
        return False


def require_regular(path: Path, *, or_folder: bool = False) -> os.stat_result:
    """What the file system says of a regular file (or a folder); raises InputError for all else.

    Nothing is opened, since opening a FIFO would wait for its writer and opening a device may act on it.
    """
    try:
        status = path.stat()
    except ValueError as problem:
        raise InputError(f"{printable(path)}: not a possible file name ({problem})") from problem
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    if stat.S_ISREG(status.st_mode) or (or_folder and stat.S_ISDIR(status.st_mode)):
        return status
    kind = _kind(status.st_mode)
    raise InputError(
        f"{printable(path)}: not a regular file but {kind}; give an image file or a DICOM folder"
    )


@contextmanager
def open_regular(path: Path) -> Iterator["HashedFile"]:
    """Open a regular file for reading; raises InputError where it is none or cannot be read."""
    with HashedFile(_descriptor(path)) as file:
        yield file


@contextmanager
def open_seekable(path: Path) -> Iterator[io.BufferedReader]:
    """The same without a hash, to read here and there."""
    with os.fdopen(_descriptor(path), "rb") as file:
        yield file


def _descriptor(path: Path) -> int:
    """A regular file, open for reading."""
    require_regular(path)
    try:
        # O_NONBLOCK: should the file become a FIFO between the check and here, opening still returns
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{printable(path)}: not a regular file")
    return descriptor


class HashedFile(io.RawIOBase):
    """An open file whose SHA-256 is computed as it is read, so that no second pass is needed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self.size = os.fstat(descriptor).st_size

    def readable(self) -> bool:
        """True: this is for reading only."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill `buffer` from the file's next bytes; returns how many, 0 at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # the typeshed's buffer type has no run-time name
        count = os.readv(self._descriptor, [view])
        self._digest.update(view[:count])
        return count

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def sha256(self) -> str:
        """Digest of the whole file; reads what is left of it."""
        while self.read(CHUNK_BYTES):
            pass
        return self._digest.hexdigest()


def _unreadable(path: Path, problem: OSError) -> InputError:
    reason = REASONS.get(problem.errno or 0, f"cannot be read ({problem.strerror})")
    return InputError(f"{printable(path)}: {reason}")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO (named pipe)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
