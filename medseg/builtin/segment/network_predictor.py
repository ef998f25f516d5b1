"""A trained network at work: its weights in an engine, and the sliding window that uses it.

What does not fit is not tried: the plan cuts the plane into blocks or refuses. What a device runs out of all
the same is done again from the first window with less: a smaller batch, then the CPU, then more blocks.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.segment.wanted_sinks import WantedSinks
from medseg.errors import InputError, ModelError, PluginError, ResourceError
from medseg.inference.engines import Engine, open_engine
from medseg.inference.planning import Effort, Pass, Way, choose, least, measured_pass, reserve
from medseg.inference.streaming import stream
from medseg.inference.torch_runtime import torch_device, torch_runtime
from medseg.inference.windows import Windows
from medseg.io.regular_file import printable
from medseg.io.weights import weights_file
from medseg.memory import (
    available_bytes,
    promised_bytes,
    release_freed_memory,
    resident_bytes,
    too_little,
)
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import LabelTable
from medseg.steps import Predictor
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    import torch

    from medseg.builtin.segment.network import NetworkSegmenter

__all__ = ["NetworkPredictor", "load_weights"]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
AXIS_ENDS = {"left-right": "LR", "anterior-posterior": "AP", "superior-inferior": "SI"}
BATCH = {"cpu": 1, "cuda": 4}  # windows at once: a processor is busy with one, a GPU is not


class NetworkPredictor(Predictor):
    """The members of an ensemble, often one, loaded once and used for every case.

    A device that ran out of memory once is asked for less in the cases that follow, too.
    """

    def __init__(
        self, segmenter: NetworkSegmenter, labels: LabelTable, folder: Path, resources: Resources
    ) -> None:
        self._segmenter = segmenter
        self._labels = labels
        self._folder = folder
        self._resources = resources
        self._outputs = segmenter.head.channels(labels)
        self._engines: tuple[Engine, ...] = ()
        self._batch = BATCH[torch_device(resources).type]
        while not self._engines:
            try:
                self._open()
            except ResourceError as problem:
                self._engines = ()
                if not _out_of_device_memory(problem) or self._step_down() is None:
                    raise

    def _open(self) -> None:
        """Make the engines, and see in one pass of the first what they take."""
        segmenter = self._segmenter
        with torch_runtime(self._resources):
            release_freed_memory()
            self._engines = tuple(self._engine(file.path, file.sha256) for file in segmenter.weights)
            shape = (self._batch, segmenter.channels, *segmenter.window.patch)
            self._opened_batch = self._batch
            self._pass = self._foretold_pass() or measured_pass(self._engines[0], shape)

    def _foretold_pass(self) -> Pass | None:
        """What a pass is likely to take, where one would pass the limit (then no plan fits); else None."""
        limit, engine = self._resources.max_memory_bytes, self._engines[0]
        foretold = engine.memory_bytes - engine.resident_bytes
        if limit is None or engine.device != "cpu" or resident_bytes() + foretold <= limit:
            return None
        return Pass(foretold, 0.0)

    def _engine(self, path: str, sha256: str) -> Engine:
        segmenter = self._segmenter
        member = segmenter.architecture.build(
            dims=segmenter.dims, inputs=segmenter.channels, outputs=self._outputs
        )
        load_weights(member, weights_file(self._folder, path), sha256)
        return open_engine(
            member,
            sha256=sha256,
            batch=self._batch,
            channels=segmenter.channels,
            patch=segmenter.window.patch,
            resources=self._resources,
            precision="fp32" if self._resources.precision == "auto" else self._resources.precision,
        )

    # ---- before it runs

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """The quickest way that fits; raises ResourceError with the memory that would do where none does."""
        release_freed_memory()
        held = resident_bytes() + promised_bytes()
        sinks = self._sinks(grid, onto, wanted)
        effort = self._effort(sinks)
        way = self._way(effort, held)
        engine, windows = self._engines[0], effort.windows
        return Plan(
            device=engine.device,
            peak_bytes=way.peak_bytes,
            resident_bytes=held,
            strategy=_in_words(windows, way, effort.slab_channels, engine) + sinks.on_disk,
            engine=engine.name,
            precision=engine.precision,
            batch=way.batch,
            windows=len(windows),
            evaluations=way.evaluations,
            patch=self._segmenter.window.patch,
            passes=effort.passes,
            axis="ijk"[windows.axis],
            slab=way.slab,
            blocks=way.blocks,
            seconds=way.seconds,
        )

    def _sinks(self, grid: Grid, onto: Grid, wanted: Wanted) -> WantedSinks:
        return WantedSinks(
            head=self._segmenter.head,
            labels=self._labels,
            grid=grid,
            axis=self._windows(grid).axis,
            onto=onto,
            wanted=wanted,
            members=len(self._engines),
        )

    def _effort(self, sinks: WantedSinks) -> Effort:
        mirrors, members = self._mirrors(sinks.grid), len(self._engines)
        passes = len(mirrors) * members
        copies = (sinks.groups if passes > 1 else 0) + (len(mirrors) > 1)
        effort = Effort(
            windows=self._windows(sinks.grid),
            inputs=self._segmenter.channels,
            channels=self._outputs,
            slab_channels=sinks.groups * self._outputs,
            passes=passes,
            halo=sinks.halo,
            sinks=sinks.cost(threads=1),
            one_pass=self._one_pass,
            extra_logits=copies,
        )
        return replace(effort, sinks=sinks.cost(threads=effort.threads))

    def _one_pass(self, batch: int) -> Pass:
        """What a batch takes, in proportion to the one that was measured."""
        share = batch / self._opened_batch
        return Pass(round(self._pass.work_bytes * share), self._pass.seconds * share)

    def _way(self, effort: Effort, held: int, *, blocks_from: int = 1) -> Way:
        given = self._resources.max_memory_bytes
        room = available_bytes() - promised_bytes() if given is None else given - held
        batches = [self._batch >> n for n in range(self._batch.bit_length())]
        missed = [engine.missed for engine in self._engines if engine.missed is not None]
        way = choose(effort, batches, room, blocks_from=blocks_from)
        if way is not None and not any(each.by_name for each in missed):
            return way
        smallest = least(effort, batches)
        enough = held + smallest.peak_bytes + reserve(smallest.peak_bytes)
        if missed:  # with the number, the engine that was asked for may be made
            enough += sum(each.extra_bytes for each in missed)
            enough = max(enough, *(each.total_bytes for each in missed))
        raise too_little(
            "segmenting needs, with a reserve,", needed=enough, usable=room + held, limited=given is not None
        )

    # ---- at work

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment a volume; labels are decided on the native grid."""
        self._check_channels(volume)
        fallbacks: list[str] = []
        blocks = 1
        while True:
            if not self._engines:
                self._open()
            release_freed_memory()
            sinks = self._sinks(volume.grid, onto, wanted)
            effort = self._effort(sinks)
            way = self._way(effort, resident_bytes() + promised_bytes(), blocks_from=blocks)
            begun = time.perf_counter()
            try:
                prediction = self._slide(volume, sinks, way)
            except (ResourceError, MemoryError) as problem:
                blocks = self._retry(problem, way, fallbacks)
            else:
                used = self._used(effort, way, fallbacks) | {"seconds": round(time.perf_counter() - begun, 3)}
                return replace(prediction, used=used)

    def _slide(self, volume: Volume, sinks: WantedSinks, way: Way) -> Prediction:
        windows, mirrors = self._windows(volume.grid), self._mirrors(volume.grid)
        with torch_runtime(self._resources):
            return sinks.predicted(
                lambda fed: stream(
                    volume,
                    windows,
                    lambda images: self._forward(images, mirrors, apart=sinks.apart),
                    fed,
                    batch=way.batch,
                    blocks=way.blocks,
                    threads=self._resources.threads,
                    progress=self._resources.progress,
                )
            )

    def _retry(self, problem: ResourceError | MemoryError, way: Way, fallbacks: list[str]) -> int:
        """Step down after memory ran out, and say in how many blocks to begin again; raises what is final."""
        lost = _out_of_device_memory(problem)
        note = self._step_down() if lost else None
        if note is not None:
            fallbacks.append(note)
            return 1
        again = any(note.startswith("blocks") for note in fallbacks)
        if not (lost or isinstance(problem, MemoryError)) or again:
            raise problem
        fallbacks.append(f"blocks {2 * way.blocks}")
        return 2 * way.blocks

    def _step_down(self) -> str | None:
        """Ask the device for less, or leave it for the CPU; what was done, None where nothing is left."""
        import torch

        if self._batch > 1:
            self._batch //= 2
            note = f"batch {self._batch}"
        elif torch_device(self._resources).type != "cpu":
            self._engines = ()  # made anew on the CPU
            self._resources = replace(self._resources, device="cpu")
            self._batch = BATCH["cpu"]
            note = "device cpu"
        else:
            return None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning("out of memory; trying again with %s", note)
        return note

    def _forward(self, images: Floats, mirrors: list[tuple[int, ...]], *, apart: bool) -> Floats:
        """Mean logits of all members and mirrored copies for windows `[N, C, i, j, k]`.

        With `apart`, each member's mean over its mirrored copies follows, side by side as further channels.
        """
        if len(mirrors) * len(self._engines) == 1:
            return self._logits(self._engines[0], images, ())
        groups = 1 + len(self._engines) * apart
        sums = np.zeros((len(images), groups, self._outputs, *images.shape[2:]), np.float32)
        for axes in mirrors:
            for number, engine in enumerate(self._engines, start=1):
                logits = self._logits(engine, images, axes)
                sums[:, 0] += logits
                if apart:
                    sums[:, number] += logits
        sums[:, 0] /= len(mirrors) * len(self._engines)
        sums[:, 1:] /= len(mirrors)
        return sums.reshape(len(images), groups * self._outputs, *images.shape[2:])

    def _logits(self, engine: Engine, images: Floats, axes: tuple[int, ...]) -> Floats:
        """One member's logits of windows mirrored along some axes, turned back."""
        given = np.flip(images, tuple(2 + axis for axis in axes)) if axes else images
        flat = self._segmenter.dims == 2
        logits = engine(given[..., 0] if flat else given)
        if flat:
            logits = logits[..., None]
        expected = (len(images), self._outputs, *images.shape[2:])
        if logits.shape != expected:
            raise PluginError(f"the network gave {list(logits.shape)}, not logits of {list(expected)}")
        if axes:
            logits = np.stack([self._segmenter.head.unmirror(one, axes) for one in logits])
        return logits

    def _used(self, effort: Effort, way: Way, fallbacks: list[str]) -> dict[str, Any]:
        engine, windows = self._engines[0], effort.windows
        return {
            "device": engine.device,
            "engine": engine.name,
            "precision": engine.precision,
            "patch": list(self._segmenter.window.patch),
            "windows": len(windows),
            "evaluations": way.evaluations,
            "passes": effort.passes,
            "batch": way.batch,
            "blocks": way.blocks,
            "slab": list(way.slab),
            "axis": "ijk"[windows.axis],
            "fallbacks": fallbacks,
            "notes": list(engine.notes),
            "deterministic": self._resources.deterministic,
            "weights": [file.sha256 for file in self._segmenter.weights],
        }

    def _check_channels(self, volume: Volume) -> None:
        wanted = self._segmenter.channels
        if len(volume.channels) != wanted:
            count, names = len(volume.channels), ", ".join(volume.channels[:8])
            raise InputError(
                f"the image has {count} {'channel' if count == 1 else 'channels'} ({names}), "
                f"and the network takes {wanted}"
            )

    def _windows(self, grid: Grid) -> Windows:
        window = self._segmenter.window
        return Windows(grid.shape, self._segmenter.patch, window.overlap, window.blend)

    def _mirrors(self, grid: Grid) -> list[tuple[int, ...]]:
        """Every set of grid axes to mirror along, the empty one first; one voxel mirrored is itself."""
        axes = sorted(
            axis
            for axis, code in enumerate(grid.axis_codes)
            if self._segmenter.patch[axis] > 1
            and any(code in AXIS_ENDS[name] for name in self._segmenter.mirror)
        )
        return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]


def _out_of_device_memory(problem: BaseException) -> bool:
    """Whether the memory that ran out is that of PyTorch's device."""
    import torch

    return isinstance(problem, torch.OutOfMemoryError) or isinstance(
        problem.__cause__, torch.OutOfMemoryError
    )


def _in_words(windows: Windows, way: Way, channels: int, engine: Engine) -> str:
    """The way as one sentence."""
    cut = f", in {way.blocks} blocks" if way.blocks > 1 else ""
    return (
        f"{way.evaluations} windows of {_by(windows.patch)} voxels, {way.batch} at once, "
        f"in {engine.precision} by {engine.name}; a slab of {_by(way.slab)} with {channels} channels along "
        f"{'ijk'[windows.axis]}{cut}"
    )


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def load_weights(module: torch.nn.Module, path: Path, sha256: str) -> None:
    """Fill a module with the tensors of a safetensors file, stored in single or half precision.

    The bytes that are loaded are those whose checksum is right, even if the file changes meanwhile. Raises
    ModelError with the first tensor that is missing, unexpected or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(
                f"{printable(path)}: the file was altered since the pipeline was read; run again"
            )
        stored = load(content)
    except OSError as problem:
        raise ModelError(f"{printable(path)}: cannot be read: {problem.strerror}") from problem
    except SafetensorError as problem:
        raise ModelError(f"{printable(path)}: is not a sound safetensors file: {problem}") from problem
    fault = _misfit(stored, module.state_dict())
    if fault is not None:
        raise ModelError(f"{printable(path)}: {fault}; is it of another architecture?")
    module.load_state_dict(stored, strict=False)  # _misfit is the stricter one, and knows shared tensors


def _misfit(stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str | None:
    """The first tensor by which a file and a network differ, in words; None where they fit.

    A tensor that a network has under several names, as MONAI's DynUNet does, need be stored under one only.
    """
    filled = {tensor.data_ptr() for name, tensor in wanted.items() if name in stored}
    for name, tensor in wanted.items():
        found = stored.get(name)
        if found is None:
            if tensor.numel() and tensor.data_ptr() in filled:
                continue
            return f"has no tensor {name!r}, which the network needs"
        if found.shape != tensor.shape:
            return f"tensor {name!r} is {list(found.shape)}, and the network's is {list(tensor.shape)}"
        if found.is_floating_point() != tensor.is_floating_point():
            return f"tensor {name!r} is {found.dtype}, and the network's is {tensor.dtype}"
    extra = next((name for name in stored if name not in wanted), None)
    return None if extra is None else f"has a tensor {extra!r} that the network has no place for"
