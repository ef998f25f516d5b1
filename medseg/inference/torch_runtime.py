"""What PyTorch may use while a network runs: device, threads, seed, determinism, memory it keeps.

For segmenters of plugins too: `with torch_runtime(resources) as device: …`.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

from medseg.errors import ResourceError, UsageError
from medseg.prediction import Resources

if TYPE_CHECKING:
    import torch

__all__ = ["keep_freed_memory", "torch_device", "torch_runtime"]

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = (1 << 31) - 1  # the largest that mallopt takes


def torch_device(resources: Resources) -> torch.device:
    """The device these resources mean: "cpu", "cuda", "cuda:1", or "auto", a GPU if there is one.

    Raises UsageError for what is no device, ResourceError for a GPU that is not there.
    """
    import torch

    if not DEVICE.fullmatch(resources.device):
        raise UsageError(f"device {resources.device!r} is none of auto, cpu, cuda and cuda:N")
    if resources.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(resources.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(
            f"device {resources.device}: PyTorch sees {torch.cuda.device_count()} CUDA devices here; "
            "use --device cpu, or install a PyTorch for this GPU"
        )
    return device


@contextmanager
def torch_runtime(resources: Resources) -> Iterator[torch.device]:
    """Run PyTorch as these resources say, without gradients; all settings are put back afterwards.

    Arithmetic is single precision throughout: TF32, which cuDNN uses on its own, has 10 bits. Raises
    ResourceError or MemoryError where memory runs out, and with `deterministic` UsageError where an operation
    has no deterministic form.
    """
    import torch

    device = torch_device(resources)
    if device.type == "cpu":
        keep_freed_memory()
    with ExitStack() as before:
        before.callback(torch.set_num_threads, torch.get_num_threads())
        before.callback(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        if resources.threads is not None:
            torch.set_num_threads(resources.threads)
        torch.use_deterministic_algorithms(resources.deterministic)
        before.enter_context(
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=resources.deterministic, allow_tf32=False
            )
        )
        before.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        torch.manual_seed(resources.seed)
        before.enter_context(torch.inference_mode())
        before.enter_context(_plain_words(resources))
        yield device


@contextmanager
def _plain_words(resources: Resources) -> Iterator[None]:
    """Tell what PyTorch raises as RuntimeError and is no bug."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as problem:
        raise ResourceError(
            "the memory of the GPU does not suffice for a window; use --device cpu, or free the GPU"
        ) from problem
    except RuntimeError as problem:
        if "DefaultCPUAllocator" in str(problem):
            raise MemoryError("PyTorch could not have the memory it needs") from problem
        if resources.deterministic and "does not have a deterministic implementation" in str(problem):
            operation = str(problem).split(maxsplit=1)[0]
            raise UsageError(
                f"the network uses {operation}, whose bits vary from run to run; leave --deterministic out"
            ) from problem
        raise


@cache
def keep_freed_memory() -> bool:
    """Let the process keep what it frees instead of giving it back to the kernel; whether that worked.

    Activations of 3-D networks are tens of megabytes each; by default glibc maps and unmaps them at every
    layer, and page faults take a third of the time of a forward pass. The price: the resident size of the
    process stays at its highest after the network has run. For the whole process, once; no effect where the C
    library is not glibc.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(which, KEPT_BYTES) == 1 for which in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
