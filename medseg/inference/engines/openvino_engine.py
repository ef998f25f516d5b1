"""OpenVINO as an engine: a network's graph, compiled for this machine's processor.

OpenVINO's package sends usage statistics: merely importing it makes an identifier in the home folder and
posts an event. medseg sends nothing, so it is imported here with that part held off, and nowhere else.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from medseg.errors import PluginError, ResourceError, in_one_line
from medseg.inference.engines.engine import Engine, Floats
from medseg.inference.engines.export import NotExportable, Shape, Work
from medseg.inference.processors import thread_count
from medseg.prediction import Resources

__all__ = ["OpenvinoEngine", "import_openvino", "open_openvino"]

HINTS = {"fp32": "f32", "bf16": "bf16"}  # left to itself it takes bf16 wherever the processor has it
TELEMETRY = "openvino_telemetry"
_importing = Lock()
_the_core: Any = None


def import_openvino() -> Any:
    """The module `openvino`, imported so that it sends nothing.

    Without the package that sends, its converter takes a stub of its own that does nothing. Where somebody
    else has imported it before, that has happened already and it is taken as it is.
    """
    with _importing:
        if "openvino" not in sys.modules:
            with _absent(TELEMETRY):
                importlib.import_module("openvino")
        return sys.modules["openvino"]


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Let imports of a package fail as if it were not installed."""
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # what Python itself puts there to say so
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def _core() -> Any:
    """The one core of this process, which lives as long as it.

    A core puts a signal stack of its own in the place of the one that was there, and puts that one back when
    it is freed, whether it still is or not. Of two, freed in the order in which they were made, the first
    one's stays in place and is memory no more: the next signal, Ctrl-C say, ends the process.
    """
    global _the_core  # noqa: PLW0603 - of the process, as its signal stack is
    openvino = import_openvino()
    with _importing:
        if _the_core is None:
            _the_core = openvino.Core()
        return _the_core


def open_openvino(
    graph: bytes, shape: Shape, work: Work | None, *, resources: Resources, precision: str
) -> Engine:
    """A graph compiled; raises NotExportable where it cannot be, ResourceError for its precision."""
    core = _core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ResourceError("this processor cannot compute in bf16; use --precision fp32")
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": thread_count(resources),
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # others run on this machine too
    }
    try:
        compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    except RuntimeError as problem:
        raise NotExportable(f"OpenVINO refuses its graph: {in_one_line(problem)[:200]}") from problem
    return OpenvinoEngine(compiled, shape, work, precision=precision)


class OpenvinoEngine(Engine):
    """A compiled graph and the one request that is run again and again."""

    name = "openvino"
    device = "cpu"

    def __init__(self, compiled: Any, shape: Shape, work: Work | None, *, precision: str) -> None:
        self._request = compiled.create_infer_request()
        self._shape = shape
        self._output = tuple(int(side) for side in compiled.output(0).shape)
        self.precision = precision
        self.pass_bytes = work.activations if work else 0

    def __call__(self, images: Floats) -> Floats:
        """One pass; fewer windows than the batch are filled up with zeros, and what they give is dropped."""
        openvino = import_openvino()
        given = self._shape.filled(images)
        logits = np.empty(self._output, np.float32)  # a new one each time: the last may still be in use
        self._request.set_input_tensor(openvino.Tensor(given, shared_memory=True))
        self._request.set_output_tensor(openvino.Tensor(logits, shared_memory=True))
        try:
            self._request.infer()
        except RuntimeError as problem:
            if "alloc" in str(problem):
                raise MemoryError("OpenVINO could not have the memory it needs") from problem
            raise PluginError(f"OpenVINO failed: {in_one_line(problem)[:200]}") from problem
        return logits[: len(images)]
