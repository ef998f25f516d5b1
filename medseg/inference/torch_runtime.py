"""What PyTorch may use while a network runs: device, threads, seed, determinism.

For segmenters of plugins too: `with torch_runtime(resources) as device: …`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.errors import ResourceError, UsageError
from medseg.inference.processors import processor_count
from medseg.prediction import Resources

if TYPE_CHECKING:
    import torch

__all__ = ["plain_words", "torch_device", "torch_runtime"]

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
# What CUDA, Triton, cuDNN and cuBLAS say where PyTorch has no error of its own
NO_MEMORY = "CUDA error: out of memory", "[CUDA]: out of memory", "STATUS_ALLOC_FAILED"
COMPILER_FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # PyTorch sets it to the folder that it makes


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
    with ExitStack() as before:
        before.enter_context(_without_compiler_folder())
        before.callback(torch.set_num_threads, torch.get_num_threads())
        before.enter_context(_determinism(resources.deterministic))
        torch.set_num_threads(resources.threads or min(torch.get_num_threads(), processor_count()))
        before.enter_context(
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=resources.deterministic, allow_tf32=False
            )
        )
        before.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        torch.manual_seed(resources.seed)
        before.enter_context(torch.inference_mode())
        before.enter_context(plain_words(resources))
        yield device


@contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    """Let PyTorch use only operations whose bits are the same in every run, or any.

    The setting is left alone where it is so already: touching it imports PyTorch's compiler, which takes
    three seconds and 100 MB.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    softly = torch.is_deterministic_algorithms_warn_only_enabled()
    if before == wanted and not softly:
        yield
        return
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=softly)


@contextmanager
def _without_compiler_folder() -> Iterator[None]:
    """Remove the folder `torchinductor_…` that PyTorch makes for its compiler, where it stayed empty.

    Importing torch._dynamo makes it, among the temporary files; so do the exporter and some operations on the
    meta device. One that was there before, or that the environment variable asks for, is left alone.
    """
    if COMPILER_FOLDER in os.environ:
        yield
        return
    there = set(Path(tempfile.gettempdir()).absolute().glob("torchinductor_*"))
    try:
        yield
    finally:
        made = os.environ.pop(COMPILER_FOLDER, None)
        if made is not None and Path(made) not in there:
            with suppress(OSError):  # it is in use
                Path(made).rmdir()


@contextmanager
def plain_words(resources: Resources) -> Iterator[None]:
    """Tell what PyTorch raises as RuntimeError and is no bug."""
    import torch

    try:
        yield
    except RuntimeError as problem:  # torch.OutOfMemoryError is one
        if "DefaultCPUAllocator" in str(problem):
            raise MemoryError("PyTorch could not have the memory it needs") from problem
        if isinstance(problem, torch.OutOfMemoryError) or any(sign in str(problem) for sign in NO_MEMORY):
            raise ResourceError(
                "the memory of the GPU does not suffice for a window; use --device cpu, or free the GPU",
                device_memory=True,
            ) from problem
        if resources.deterministic and "does not have a deterministic implementation" in str(problem):
            operation = str(problem).split(maxsplit=1)[0]
            raise UsageError(
                f"the network uses {operation}, whose bits vary from run to run; leave --deterministic out"
            ) from problem
        raise
