"""Memory of this process and what is left of the machine's, in bytes, as the system counts it."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock

from medseg.errors import ResourceError

__all__ = [
    "available_bytes",
    "highest_bytes",
    "peak_bytes",
    "promised",
    "promised_bytes",
    "release_freed_memory",
    "reset_peak",
    "resident_bytes",
    "too_little",
]

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEMINFO, PROC, CGROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
RESET_PEAK = "5"  # proc(5): writing it to clear_refs sets the high-water mark to what is resident now
BOUNDS = {  # by version of the control groups: limit, use, and what of it can be dropped
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
VARIES = 50, 48 << 20  # what is resident differs from run to run: by this part of it, and bytes
_highest = 0
_promised = 0
_promising = Lock()


def resident_bytes() -> int:
    """What of this process lies in memory now; where the system does not say (no Linux), its highest."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """The most that was resident since `reset_peak`, or since the process began."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Begin a new high-water mark. No effect where the system has none; `highest_bytes` forgets nothing."""
    global _highest  # noqa: PLW0603 - of the process, as the mark itself is
    _highest = max(_highest, peak_bytes())
    try:
        CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return


def highest_bytes() -> int:
    """The most that was ever resident in this process, resets notwithstanding."""
    return max(_highest, peak_bytes())


@contextmanager
def promised(count: int) -> Iterator[None]:
    """Let plans that are made meanwhile leave so many bytes to others of this process, who will take them."""
    global _promised  # noqa: PLW0603 - of the process, as its memory is
    with _promising:
        _promised += count
    try:
        yield
    finally:
        with _promising:
            _promised -= count


def promised_bytes() -> int:
    """What others of this process were promised and have not taken yet."""
    return _promised


def too_little(what: str, *, needed: int, usable: int, limited: bool) -> ResourceError:
    """The refusal of what needs `needed` bytes in all where `usable` are; `limited` where a user set those.

    A limit of the number in it is enough in the next run, whose process is not to the byte what this one is.
    """
    share, more = VARIES
    remedy = f"give --max-memory {_gb(needed + needed // share + more)}" if limited else "free memory"
    return ResourceError(
        f"{what} at least {_gb(needed)} in all, and {_gb(usable)} may be used; {remedy}, or crop the image",
        needed_bytes=needed,
    )


def _gb(count: int) -> str:
    """Bytes as gigabytes with two digits, rounded up."""
    return f"{math.ceil(count / 1e7) / 100:.2f}GB"


def release_freed_memory() -> None:
    """Give back to the kernel what was freed and kept, so that what is resident is what is in use.

    The next pass of a network faults those pages in again, a fraction of a second a gigabyte. No effect where
    the C library is not glibc.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def available_bytes(*, meminfo: Path = MEMINFO, proc: Path = PROC, mounted: Path = CGROUPS) -> int:
    """Memory that can be had without swapping: of the machine, and within the limits of a container.

    What a control group may still take is its limit less its use, where pages of files that were read and
    can be dropped do not count. Source: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    left = [_free(group, *BOUNDS[version]) for version, group in _groups(proc, mounted)]
    return max(0, min([_machine(meminfo), *(each for each in left if each is not None)]))


def _machine(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _groups(proc: Path, mounted: Path) -> Iterator[tuple[int, Path]]:
    """The memory control groups of this process and all above them, each with its version."""
    try:
        lines = proc.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        version, tree = (1, mounted / "memory") if controllers else (2, mounted)
        here = PurePosixPath(path.lstrip("/"))
        for part in (here, *here.parents):  # in a container the root may be all that can be seen
            if ".." not in part.parts:
                yield version, tree / part


def _free(group: Path, limit: str, usage: str, droppable: str) -> int | None:
    """What a group may still take; None where it sets no limit."""
    try:
        most, used = (int((group / name).read_text(encoding="ascii")) for name in (limit, usage))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such group, or "max"
        return None
    cached = next((int(line.split()[1]) for line in lines if line.split()[0] == droppable), 0)
    return most - used + cached


def _status(field: str) -> int:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
