"""Whether a graph can be made within a limit on memory: making one takes more than using it."""

from __future__ import annotations

from medseg.inference.engines.engine import Missed
from medseg.inference.engines.export import NotExportable, Work
from medseg.inference.engines.torch_engine import LIBRARY_BYTES, REORDERED
from medseg.memory import release_freed_memory, resident_bytes

__all__ = ["NoRoomForGraph", "require_room"]

# MiB that stay, measured: the exporter's libraries 82 to 105, OpenVINO 60, ONNX Runtime 35
EXPORTER, ENGINES = 110 << 20, {"openvino": 80 << 20, "onnx": 50 << 20}
COPIES = 4  # of the weights: in PyTorch's program, the graph's bytes, and twice in the engine; measured 3.5
POOLED = {
    "openvino": 1.0,
    "onnx": 1.6,
}  # of the activations, at the engine's first pass; measured 0.7 and 1.4


class NoRoomForGraph(NotExportable):
    """A graph that cannot be made within the limit on memory; `missed` has what it would take."""

    def __init__(self, message: str, missed: Missed) -> None:
        super().__init__(message)
        self.missed = missed


def require_room(engine: str, work: Work | None, *, limit: int | None, logits: int | None = None) -> None:
    """Raise NoRoomForGraph where making a graph and trying it would pass the limit; None is no limit.

    Asked twice: before PyTorch computes what the graph is held against, and, knowing how many bytes of
    `logits` that gave, before the graph is made.
    """
    if limit is None or work is None:
        return
    release_freed_memory()
    extra = EXPORTER + ENGINES[engine] + COPIES * work.weights
    made = extra + int(POOLED[engine] * work.activations)
    passed = LIBRARY_BYTES + int(REORDERED * work.activations)
    above = max(passed, made + work.activations // 2) if logits is None else made + logits
    total = resident_bytes() + above
    if total > limit:
        raise NoRoomForGraph(
            f"making its graph takes {total / 1e9:.2f} GB, and {limit / 1e9:.2f} GB may be used",
            Missed(engine=engine, total_bytes=total, extra_bytes=extra),
        )
