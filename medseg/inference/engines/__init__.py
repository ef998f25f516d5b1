"""What computes a network: PyTorch, OpenVINO or ONNX Runtime, all behind one call.

    with torch_runtime(resources):
        recipe = Recipe(module="my_package.nets", component="Net(depth=3)", outputs=5)
        engine = open_engine(
            network, recipe=recipe, sha256=…, batch=1, channels=1, patch=(96, 96, 96), resources=resources,
            precision="fp32",
        )
        logits = engine(images)  # [N, C, 96, 96, 96] -> [N, K, 96, 96, 96]

`auto` is OpenVINO on a processor where it is installed, else PyTorch; on a GPU PyTorch. OpenVINO and ONNX
Runtime compute a graph that is made of the network once and kept (`cache`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medseg.errors import ModelError, UsageError, did_you_mean
from medseg.inference.engines.cache import user_cache
from medseg.inference.engines.engine import Engine, Floats, Missed
from medseg.inference.engines.export import (
    NotExportable,
    Recipe,
    Shape,
    Work,
    exported,
    graph_key,
    own_logits,
    require_same,
    work_of,
)
from medseg.inference.engines.graph_room import NoRoomForGraph, require_room
from medseg.inference.engines.installed import REMEDY, missing
from medseg.inference.torch_runtime import torch_device
from medseg.memory import release_freed_memory
from medseg.prediction import Resources

if TYPE_CHECKING:
    import torch

__all__ = ["ENGINES", "PRECISIONS", "Engine", "Recipe", "automatic_engine", "open_engine"]

ENGINES: Mapping[str, tuple[str, ...]] = {  # with the libraries that each needs beside PyTorch
    "torch": (),
    "openvino": ("openvino", "onnx", "onnxscript"),
    "onnx": ("onnxruntime", "onnx", "onnxscript"),
}
PRECISIONS = ("fp32", "bf16", "fp16")


def automatic_engine(resources: Resources) -> tuple[str, str]:
    """The engine that these resources mean, if it takes the network, and its device: "cpu" or "cuda"."""
    device = torch_device(resources).type
    name = _choose(resources, device, "fp32").name
    return name, device if name == "torch" else "cpu"


@dataclass(frozen=True)
class _Choice:
    """The engine that was decided on, whether by its name, and why not the one that comes first."""

    name: str
    by_name: bool
    note: str = ""


def open_engine(  # noqa: PLR0913 - a network and all that decides how it runs
    member: torch.nn.Module,
    *,
    recipe: Recipe,
    sha256: str,
    batch: int,
    channels: int,
    patch: tuple[int, ...],
    resources: Resources,
    precision: str,
    enlarged: float = 1.0,
) -> Engine:
    """Make a network ready for up to `batch` windows `[C, *patch]` at once; of 2-D networks, two sides.

    `recipe` says what built it, `sha256` is that of its weights file; graphs are kept under both. The engine
    of PyTorch uses `member` itself, moved to the device; the others keep nothing of it. Where `auto` cannot
    have OpenVINO, the engine's `notes` say why. `enlarged` says how many times as many voxels the network
    itself makes of a window, at most. Where no graph can be made within the limit on memory,
    PyTorch takes its place whatever was asked for, and `missed` says so: the caller may not want that.

    Raises UsageError for an engine or precision that is not to be had here, with what to do; ModelError where
    the engine that was named cannot take the network, ResourceError where the processor cannot compute in
    this precision, PipelineError where the network cannot take such windows.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    shape = Shape(batch, channels, patch, enlarged)
    device = torch_device(resources)
    choice = _choose(resources, device.type, precision)
    work = work_of(member, shape) if resources.max_memory_bytes is not None else None
    notes = [choice.note, "the memory of the network itself is a guess" if work and work.guessed else ""]
    missed: Missed | None = None
    if choice.name != "torch":
        try:
            engine = _of_graph(
                choice.name, member.to("cpu").eval(), recipe, sha256, shape, work, resources, precision
            )
        except NoRoomForGraph as problem:
            missed = replace(problem.missed, by_name=choice.by_name)
            notes[0] = f"torch instead of {choice.name}: {problem}"
        except NotExportable as problem:
            if choice.by_name:
                raise ModelError(
                    f"engine {choice.name} cannot take this network: {problem}; use --engine torch"
                ) from problem
            notes[0] = f"torch instead of {choice.name}: {problem}"
        else:
            engine.notes = tuple(filter(None, notes))
            return engine
    from medseg.inference.engines.torch_engine import TorchEngine

    instead = TorchEngine(
        member, work, resources=resources, precision=precision, notes=tuple(filter(None, notes))
    )
    instead.missed = missed
    return instead


def _choose(resources: Resources, device: str, precision: str) -> _Choice:
    """Which engine; raises UsageError for what cannot be had."""
    name = resources.engine
    if name not in (*ENGINES, "auto"):
        raise UsageError(
            f"engine {name!r} is none of auto, {', '.join(ENGINES)}{did_you_mean(name, ENGINES)}"
        )
    gpu = device == "cuda" and (name in ("auto", "torch") or resources.device != "auto")
    if not gpu and precision == "fp16":
        raise UsageError("precision fp16 is for GPUs; on the CPU use fp32 or bf16")
    if name in ("openvino", "onnx"):
        if gpu:
            raise UsageError(f"engine {name} runs on the CPU here; give --device cpu or --engine torch")
        lacking = missing(*ENGINES[name])
        if lacking:
            raise UsageError(f"engine {name} needs {lacking}, which is not installed: {REMEDY}")
        if name == "onnx" and precision != "fp32":
            raise UsageError(f"engine onnx runs in fp32 only, not in {precision}; use openvino or torch")
        return _Choice(name, by_name=True)
    if name == "torch" or gpu:
        return _Choice("torch", by_name=name == "torch")
    lacking = missing(*ENGINES["openvino"])
    if lacking:
        return _Choice("torch", by_name=False, note=f"torch, since {lacking} is not installed: {REMEDY}")
    return _Choice("openvino", by_name=False)


def _of_graph(  # noqa: PLR0913, PLR0917 - what open_engine was given, in its order
    name: str,
    member: torch.nn.Module,
    recipe: Recipe,
    sha256: str,
    shape: Shape,
    work: Work | None,
    resources: Resources,
    precision: str,
) -> Engine:
    """The engine of a graph; raises NotExportable where the network cannot be made into one."""
    cache, key = user_cache(), graph_key(member, recipe, sha256, shape, engine=name)
    kept = cache.get(key) if cache else None
    limit = resources.max_memory_bytes
    graph, wanted = (kept, None) if kept else _made(name, member, shape, work, limit)
    engine: Engine
    if name == "openvino":
        from medseg.inference.engines.openvino_engine import open_openvino

        engine = open_openvino(graph, shape, work, resources=resources, precision=precision)
    else:
        from medseg.inference.engines.onnx_engine import open_onnx

        engine = open_onnx(graph, shape, work, resources=resources)
    if wanted is not None:
        require_same(engine, wanted, shape)
        if cache:
            cache.put(key, graph)
    return engine


def _made(
    name: str, member: torch.nn.Module, shape: Shape, work: Work | None, limit: int | None
) -> tuple[bytes, Floats]:
    """A graph, and the logits that it must give; one after the other, as each takes memory to make."""
    require_room(name, work, limit=limit)
    wanted = own_logits(member, shape)
    require_room(name, work, limit=limit, logits=wanted.nbytes)
    graph = exported(member, shape)
    if limit is not None:
        release_freed_memory()
    return graph, wanted
