"""A network made into an ONNX graph of fixed shape, once, and held against the network before it is kept.

The graph is captured by `torch.export`, which refuses a network whose path depends on the values it sees,
where tracing would follow one path and be silently wrong. No pass is run for it. What it is held against,
a pass of PyTorch, is computed before: so the activations of both are never there together.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import PipelineError, in_one_line
from medseg.inference.activations import activation_bytes
from medseg.inference.engines.engine import Engine, Floats
from medseg.inference.engines.installed import versions

if TYPE_CHECKING:
    import torch

__all__ = [
    "NotExportable",
    "Recipe",
    "Shape",
    "Work",
    "exported",
    "graph_key",
    "own_logits",
    "require_same",
    "taking",
    "work_of",
]

UNKNOWN_ACTIVATIONS = 50 * 32 * 4  # bytes a voxel: about what a U-Net takes
MOST_GRAPH_BYTES = (1 << 31) - (64 << 20)  # protobuf's limit, less what is not weights
TOLERANCE = {"fp32": 1e-3, "bf16": 0.15}  # of the logits' root mean square; measured: 6e-6 and 0.02
SEED = 20200301
DISTRIBUTIONS = {
    "openvino": ("torch", "onnx", "onnxscript", "openvino"),
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
}


class NotExportable(Exception):  # noqa: N818 - no failure of the run: another engine takes the network
    """A network that no graph can be made of, or whose graph is not the network; the message says why."""


@dataclass(frozen=True)
class Shape:
    """What an engine is made for: so many windows of so many channels and voxels at once.

    `enlarged` says how many times as many voxels the network itself makes of a window.
    """

    batch: int
    channels: int
    patch: tuple[int, ...]
    enlarged: float = 1.0

    @property
    def input(self) -> tuple[int, ...]:
        """`[batch, C, *patch]`."""
        return (self.batch, self.channels, *self.patch)

    def filled(self, images: Floats) -> Floats:
        """These windows as a full batch in one block of memory: zeros follow the last."""
        if len(images) == self.batch:
            return np.ascontiguousarray(images, np.float32)
        full = np.zeros(self.input, np.float32)
        full[: len(images)] = images
        return full


@dataclass(frozen=True)
class Work:
    """Bytes of a network's weights, and at most at once of what passes between its layers for a batch."""

    weights: int
    activations: int
    guessed: bool = False


def work_of(member: torch.nn.Module, shape: Shape) -> Work:
    """What a network needs at work, without running it; raises PipelineError as `taking` does.

    Takes PyTorch three seconds to load what it needs for that, and 100 MB.
    """
    tensors = [*member.parameters(), *member.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    without_weights = {id(tensor): _on_meta(tensor) for tensor in tensors}
    with taking(shape.patch):
        found = activation_bytes(partial(copy.deepcopy, member, without_weights), shape.input)
    if found is None:
        voxels = shape.batch * math.prod(shape.patch) * shape.enlarged
        return Work(weights, round(UNKNOWN_ACTIVATIONS * voxels), guessed=True)
    return Work(weights, found)


@contextmanager
def taking(patch: Sequence[int]) -> Iterator[None]:
    """Blame the patch where a network refuses windows: one that shrinks to a voxel cannot be normalised."""
    try:
        yield
    except ValueError as problem:
        raise PipelineError(
            f"window.patch: the network cannot take {list(patch)}: {problem}; give a larger patch"
        ) from problem


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    bare = tensor.detach().to("meta")
    return torch.nn.Parameter(bare, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else bare


@dataclass(frozen=True)
class Recipe:
    """What built a network: much of what it computes stands neither in its weights nor in its modules' names.

    `component` is the class and its parameters in full, `module` where the class is defined, `outputs` the
    channels that were asked for.
    """

    module: str
    component: str
    outputs: int


def graph_key(member: torch.nn.Module, recipe: Recipe, sha256: str, shape: Shape, *, engine: str) -> str:
    """A name for the graph of a network: another one wherever the graph might differ.

    Covers what built it with which parameters, weights, architecture, the code of the builder and of the
    network's layers, shape, and all versions.
    """
    kinds = sorted(
        {type(part) for part in member.modules()}, key=lambda kind: (kind.__module__, kind.__qualname__)
    )
    layers = {kind.__module__ for kind in kinds if not kind.__module__.startswith("torch.")}
    modules = sorted(layers | {recipe.module})
    packages = sorted({name.partition(".")[0] for name in modules})
    described = {
        "recipe": asdict(recipe),
        "weights": sha256,
        "architecture": repr(member),
        "code": {name: _source_digest(name) for name in modules},
        "packages": {name: str(getattr(sys.modules.get(name), "__version__", "")) for name in packages},
        "input": shape.input,
        "engine": engine,
        "versions": versions(*DISTRIBUTIONS[engine]),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _source_digest(module: str) -> str:
    try:
        path = inspect.getsourcefile(sys.modules[module])
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except (KeyError, OSError, TypeError):  # a class made at run time, or code that is no file
        return ""


def exported(member: torch.nn.Module, shape: Shape) -> bytes:
    """The network as an ONNX graph, in inference mode on the CPU; raises NotExportable."""
    import torch

    if sum(tensor.numel() * tensor.element_size() for tensor in member.parameters()) > MOST_GRAPH_BYTES:
        raise NotExportable("its weights are larger than the 2 GiB that a graph can hold")
    images = torch.zeros(shape.input)
    try:
        with _silence(), torch.no_grad():
            program = torch.onnx.export(
                member, (images,), dynamo=True, verbose=False, optimize=True, external_data=False
            )
            assert program is not None  # it is, if no file is named
            graph: bytes = program.model_proto.SerializeToString()
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as problem:  # the exporter's and the network's own failures, of any kind
        raise NotExportable(f"it cannot be exported: {_short(problem)}") from problem
    return graph


def _short(problem: BaseException) -> str:
    """The first cause of a failure, in a few words: the exporter's own message fills a screen."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    line = in_one_line(problem)
    return line if len(line) <= 160 else f"{line[:160]}…"


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what the exporter says to itself: it tells of its progress and of optional packages."""
    quiet = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(quiet)


def own_logits(member: torch.nn.Module, shape: Shape) -> Floats:
    """The network's logits of noise, against which its graph is held; one pass of PyTorch."""
    import torch

    with torch.inference_mode(), taking(shape.patch):
        given: object = member(torch.from_numpy(_noise(shape)))
    if not isinstance(given, torch.Tensor):
        raise NotExportable(f"it gives {type(given).__name__}, not a tensor")
    logits: Floats = given.float().numpy()
    return logits


def require_same(engine: Engine, wanted: Floats, shape: Shape) -> None:
    """Raise NotExportable unless an engine's logits of noise are those of the network itself."""
    found = engine(_noise(shape))
    if wanted.shape != found.shape:
        raise NotExportable(f"its graph gives {list(found.shape)}, and it gives {list(wanted.shape)}")
    found -= wanted
    off, scale = _size(found), _size(wanted)
    if not off <= TOLERANCE[engine.precision] * scale + 1e-6:
        raise NotExportable(
            f"its graph gives other logits: off by {off:.2g} where they are about {scale:.2g}"
        )


def _noise(shape: Shape) -> Floats:
    return np.random.default_rng(SEED).standard_normal(shape.input, np.float32)


def _size(values: Floats) -> float:
    """Root mean square, without a copy."""
    return float(np.linalg.norm(values)) / math.sqrt(values.size)
