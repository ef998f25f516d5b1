"""Room on disk for what is kept during a run: files without a name, gone with the process that made them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from medseg.errors import ResourceError

__all__ = ["scratch_file"]

IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs", "hugetlbfs")
MOUNTS = Path("/proc/self/mountinfo")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def scratch_file(size: int) -> IO[bytes]:
    """A file of `size` bytes of zeros, reserved on disk, that no folder lists: closing it frees them.

    It lies in the system's folder for temporary files (TMPDIR), or where that is in memory or too full, in
    /var/tmp or the user's cache: a file in memory would be just what is to be saved. Even a process that is
    killed leaves nothing behind. Raises ResourceError where there is no room.
    """
    tried = []
    for folder in _folders():
        try:
            free = shutil.disk_usage(folder).free
            if free >= size:
                return _reserved(folder, size)
        except OSError as problem:
            if problem.errno not in (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
                raise
            tried.append(f"{problem.strerror}")
        else:
            tried.append(f"{free / 1e9:.1f} GB are free")
    raise ResourceError(
        f"{size / 1e9:.1f} GB on disk are needed for scores, and there is no such room for temporary files "
        f"({'; '.join(tried) or 'none is on a disk'}); set TMPDIR to a folder with room"
    )


def _folders() -> Iterator[str]:
    """Folders for temporary files that are on a disk, the preferred one first."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    seen = set()
    for folder in (tempfile.gettempdir(), "/var/tmp", cache):  # noqa: S108 - made by tempfile, without a name
        real = os.path.realpath(folder)
        if real not in seen and Path(real).is_dir() and _file_system(real) not in IN_MEMORY:
            seen.add(real)
            yield real


def _file_system(folder: str) -> str:
    """The type of file system that a folder lies on; empty where the system does not say (no Linux)."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, found = "", ""
    for line in lines:  # proc(5): the mount point is field 5, the type follows a lone dash
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if len(point) >= len(best) and (folder + "/").startswith(point.rstrip("/") + "/"):
            best, found = point, after.split()[0]
    return found


def _reserved(folder: str, size: int) -> IO[bytes]:
    """An unnamed file whose blocks are the disk's already: a full disk is found out now, not on writing."""
    file = tempfile.TemporaryFile(prefix="medseg-", dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except BaseException:
        file.close()
        raise
    return file
