"""Who decides what happens to freed memory: the command, never a library."""

import platform
import subprocess
import sys

import pytest

from medseg.allocator import freed_memory_is_kept, keep_freed_memory, return_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
# 64 MiB are far above what malloc keeps by default: they are mapped, and unmapped when freed.
RESIDENT = """
import ctypes, sys
{setup}
def pages():
    return int(open("/proc/self/statm").read().split()[1])
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
before = pages()
block = library.malloc(64 << 20)
ctypes.memset(block, 1, 64 << 20)
library.free(block)
print((pages() - before) * 4096 > 32 << 20)
"""
IMPORTED = """
import medseg, medseg.run, medseg.inference
from medseg.inference.torch_runtime import torch_runtime
with torch_runtime(medseg.Resources(device="cpu")):
    pass
"""


def keeps(setup: str) -> bool:
    code = RESIDENT.format(setup=setup)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()[-1] == "True"


def test_memory_is_kept_where_the_library_is_glibc_and_returned_again() -> None:
    assert keep_freed_memory() == GLIBC == freed_memory_is_kept()
    return_freed_memory()
    assert not freed_memory_is_kept()


@pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")
def test_medseg_as_a_library_changes_nothing_and_a_command_does() -> None:
    assert not keeps(IMPORTED)
    kept = "from medseg.allocator import keep_freed_memory, return_freed_memory; keep_freed_memory()"
    assert keeps(kept)
    assert not keeps(f"{kept}; return_freed_memory()")


@pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")
def test_the_entry_point_calls_it() -> None:
    entry = "from medseg.cli import main\nsys.argv = ['medseg', '--version']\n"
    assert keeps(f"{entry}try:\n    main()\nexcept SystemExit:\n    pass\n")
