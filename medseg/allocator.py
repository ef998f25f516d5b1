"""How the C library gives and takes memory back, for processes that run networks on the CPU."""

from __future__ import annotations

import ctypes

__all__ = ["freed_memory_is_kept", "keep_freed_memory", "return_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
KEPT_BYTES = (1 << 31) - 1  # the largest that mallopt takes
DEFAULT_BYTES = 128 << 10  # of both thresholds, before glibc moves them
_kept = False


def keep_freed_memory() -> bool:
    """Let the process keep what it frees instead of giving it back to the kernel; whether that worked.

    Activations of 3-D networks are tens of megabytes each; by default glibc maps and unmaps them at every
    layer, and page faults take a third of the time of a forward pass. All threads share one heap, so that
    what one has freed another can have; a heap of a thread's own would still map what is large. The price:
    the resident size stays at its highest, and is higher: freed blocks are split, and then do not fit what
    comes next. PyTorch in single precision took up to 1.9 times as much, OpenVINO 1.1 times. For the whole
    process, so only a command that owns its process calls it, never a library; no effect where the C library
    is not glibc.
    """
    global _kept  # noqa: PLW0603 - it is a state of the process
    _kept = _set((M_MMAP_THRESHOLD, KEPT_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1))
    return _kept


def return_freed_memory() -> None:
    """Undo `keep_freed_memory`, for where memory is short: freed memory goes back, now and from now on."""
    global _kept  # noqa: PLW0603 - as above
    if _kept and _set((M_MMAP_THRESHOLD, DEFAULT_BYTES), (M_TRIM_THRESHOLD, DEFAULT_BYTES)):
        ctypes.CDLL(None).malloc_trim(0)
        _kept = False


def freed_memory_is_kept() -> bool:
    """Whether the process keeps what it frees, by `keep_freed_memory`."""
    return _kept


def _set(*settings: tuple[int, int]) -> bool:
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(which, value) == 1 for which, value in settings)
