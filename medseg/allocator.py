"""How the C library gives and takes memory back, for processes that run networks on the CPU."""

from __future__ import annotations

import ctypes
from functools import cache

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
KEPT_BYTES = (1 << 31) - 1  # the largest that mallopt takes


@cache
def keep_freed_memory() -> bool:
    """Let the process keep what it frees instead of giving it back to the kernel; whether that worked.

    Activations of 3-D networks are tens of megabytes each; by default glibc maps and unmaps them at every
    layer, and page faults take a third of the time of a forward pass. All threads share one heap, so that
    what one has freed another can have; a heap of a thread's own would still map what is large. The price:
    the resident size of the process stays at its highest. For the whole process, once, so only a command
    that owns its process calls it, never a library; no effect where the C library is not glibc.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((M_MMAP_THRESHOLD, KEPT_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1))
    return all(library.mallopt(which, value) == 1 for which, value in settings)
