"""ONNX Runtime as an engine: a network's graph on the processor."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from medseg.errors import PluginError, in_one_line
from medseg.inference.engines.engine import Engine, Floats
from medseg.inference.engines.export import NotExportable, Shape, Work
from medseg.inference.processors import thread_count
from medseg.prediction import Resources

__all__ = ["OnnxEngine", "open_onnx"]

POOLED = 1.6  # its pool grows by doubling: measured 0.9 to 1.8 times the activations
ERRORS_ONLY = 3


def open_onnx(graph: bytes, shape: Shape, work: Work | None, *, resources: Resources) -> Engine:
    """A session for a graph; raises NotExportable where there can be none."""
    onnxruntime = importlib.import_module("onnxruntime")  # it says it is typed and has no types

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count(resources)
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.use_deterministic_compute = resources.deterministic
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others want the processors too
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # it has a dozen kinds, which share no base
        raise NotExportable(f"ONNX Runtime refuses its graph: {in_one_line(problem)[:200]}") from problem
    return OnnxEngine(session, shape, work)


class OnnxEngine(Engine):
    """A session of ONNX Runtime."""

    name = "onnx"
    device = "cpu"
    precision = "fp32"

    def __init__(self, session: Any, shape: Shape, work: Work | None) -> None:
        self._session = session
        self._shape = shape
        (self._input,), (self._output,) = session.get_inputs(), session.get_outputs()
        self.pass_bytes = int(POOLED * work.activations) if work else 0

    def __call__(self, images: Floats) -> Floats:
        """One pass; fewer windows than the batch are filled up with zeros, and what they give is dropped."""
        try:
            (logits,) = self._session.run([self._output.name], {self._input.name: self._shape.filled(images)})
        except Exception as problem:  # its own, as above
            if "alloc" in str(problem):
                raise MemoryError("ONNX Runtime could not have the memory it needs") from problem
            raise PluginError(f"ONNX Runtime failed: {in_one_line(problem)[:200]}") from problem
        found: Floats = np.asarray(logits, np.float32)[: len(images)]
        return found
