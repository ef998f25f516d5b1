"""A trained network at work: its weights in an engine, and the sliding window that uses it.

What does not fit is not tried: the plan cuts the plane into blocks or refuses. What a device runs out of all
the same is done again from the first window with less: a smaller batch, then the slab in the processor's
memory, then the CPU, then more blocks.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.segment.ensemble import Ensemble, unmirrors_itself
from medseg.builtin.segment.load_weights import load_weights
from medseg.builtin.segment.wanted_sinks import WantedSinks
from medseg.errors import InputError, ResourceError
from medseg.inference import gpu
from medseg.inference.content import content_of
from medseg.inference.engines import Engine, open_engine
from medseg.inference.planning import (
    Effort,
    Pass,
    Way,
    choose,
    choose_on_gpu,
    least,
    measured_pass,
    reserve,
)
from medseg.inference.streaming import stream
from medseg.inference.torch_runtime import torch_device, torch_runtime
from medseg.inference.windows import Windows
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
    from medseg.builtin.segment.network import NetworkSegmenter

__all__ = ["NetworkPredictor"]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
AXIS_ENDS = {"left-right": "LR", "anterior-posterior": "AP", "superior-inferior": "SI"}
BATCH = {"cpu": 1}  # windows at once: a processor is busy with one
GPU_VOXELS, MOST_AT_ONCE = 8 * 128**3, 32  # a GPU gets so many voxels: with more it gains little


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
        self._opening: list[str] = []
        self._batch = _at_once(torch_device(resources).type, segmenter.window.patch)
        self._slab_here = gpu.lacking() or unmirrors_itself(segmenter.head)  # why it is not on the GPU
        while not self._engines:
            try:
                self._open()
            except ResourceError as problem:
                self._engines = ()
                note = self._step_down() if _out_of_device_memory(problem) else None
                if note is None:
                    raise
                self._opening.append(f"memory ran out while the model was opened: {note}")

    def _open(self) -> None:
        """Make the engines, and see in one pass of the first what they take."""
        segmenter = self._segmenter
        with torch_runtime(self._resources):
            release_freed_memory()
            self._engines = tuple(self._engine(file.path, file.sha256) for file in segmenter.weights)
            shape = (self._batch, segmenter.channels, *segmenter.window.patch)
            self._opened_batch = self._batch
            engine = self._engines[0]
            if engine.on_gpu:
                self._pass = gpu.measured_pass(engine.infer, shape, engine.device)
            else:
                self._pass = self._foretold_pass() or measured_pass(engine, shape)

    def _foretold_pass(self) -> Pass | None:
        """What a pass is likely to take, where one would pass the limit (then no plan fits); else None."""
        limit, engine = self._resources.max_memory_bytes, self._engines[0]
        if limit is None or resident_bytes() + engine.pass_bytes <= limit:
            return None
        return Pass(engine.pass_bytes, 0.0)

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
            strategy=_in_words(windows, way, effort.slab_channels, engine) + self._skipping + sinks.on_disk,
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
            slab_on=engine.device if way.on_gpu else "cpu",
            gpu_bytes=way.gpu_bytes + self._weights_on_gpu(),
        )

    def _weights_on_gpu(self) -> int:
        """What the opened network has on a GPU already."""
        engine = self._engines[0]
        return gpu.held_bytes(engine.device) if engine.on_gpu else 0

    @property
    def _skipping(self) -> str:
        """What is said of windows that will not be computed: how many there are, only the image can tell."""
        return "; windows that are empty will be skipped" if self._segmenter.window.skip_empty else ""

    def _sinks(self, grid: Grid, onto: Grid, wanted: Wanted) -> WantedSinks:
        return WantedSinks(
            head=self._segmenter.head,
            labels=self._labels,
            grid=grid,
            axis=self._windows(grid).axis,
            onto=onto,
            wanted=wanted,
            members=len(self._engines),
            skip_empty=self._segmenter.window.skip_empty,
        )

    def _effort(self, sinks: WantedSinks) -> Effort:
        mirrors, members = self._mirrors(sinks.grid), len(self._engines)
        passes = len(mirrors) * members
        copies = sinks.groups * ((passes > 1) + sinks.drops) + (len(mirrors) > 1)
        effort = Effort(
            windows=self._windows(sinks.grid),
            inputs=self._segmenter.channels,
            channels=self._outputs,
            slab_channels=sinks.slab_channels,
            passes=passes,
            halo=sinks.halo,
            sinks=sinks.cost(threads=1),
            one_pass=self._one_pass,
            extra_logits=copies,
        )
        return replace(effort, sinks=sinks.cost(threads=effort.threads))

    def _one_pass(self, batch: int) -> Pass:
        """What a batch takes, in proportion to the one that was measured."""
        return self._pass.of(batch / self._opened_batch)

    def _way(self, effort: Effort, held: int, *, blocks_from: int = 1) -> Way:
        given = self._resources.max_memory_bytes
        room = available_bytes() - promised_bytes() if given is None else given - held
        batches = self._batches(effort.windows)
        if self._engines[0].on_gpu and not self._slab_here:
            there = choose_on_gpu(effort, batches, room, gpu.free_bytes(self._engines[0].device))
            if there is not None:
                return there
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

    def _batches(self, windows: Windows) -> list[int]:
        """How many windows may be computed at once: no more than there are side by side."""
        abreast = math.prod(len(windows.starts(axis)) for axis in range(3) if axis != windows.axis)
        counts = (self._batch >> n for n in range(self._batch.bit_length()))
        return sorted({min(count, abreast) for count in counts}, reverse=True)

    # ---- at work

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment a volume; labels are decided on the native grid."""
        self._check_channels(volume)
        fallbacks: list[str] = []
        blocks = 1
        self._forget_peak()
        while True:
            if not self._engines:
                self._open()
            release_freed_memory()
            sinks = self._sinks(volume.grid, onto, wanted)
            effort = self._effort(sinks)
            way = self._way(effort, resident_bytes() + promised_bytes(), blocks_from=blocks)
            begun = time.perf_counter()
            try:
                prediction, computed = self._slide(volume, sinks, way)
            except (ResourceError, MemoryError) as problem:
                blocks = self._retry(problem, way, fallbacks)
            else:
                used = self._used(effort, way, fallbacks, computed)
                used["seconds"] = round(time.perf_counter() - begun, 3)
                return replace(prediction, used=used)

    def _slide(self, volume: Volume, sinks: WantedSinks, way: Way) -> tuple[Prediction, int]:
        """What the sinks made of the volume, and how many windows were computed for it."""
        windows, mirrors = self._windows(volume.grid), self._mirrors(volume.grid)
        flat, computed = self._segmenter.dims == 2, 0
        ensemble = Ensemble(self._engines, self._segmenter.head, self._outputs, flat)

        def forward(images: Any) -> Any:
            nonlocal computed
            computed += len(images)
            return sinks.taken(ensemble.mean_logits(images, mirrors, apart=sinks.apart))

        with torch_runtime(self._resources):
            prediction = sinks.predicted(
                lambda fed: stream(
                    volume,
                    windows,
                    forward,
                    fed,
                    content=content_of(volume) if sinks.skip_empty else None,
                    empty=sinks.background,
                    batch=way.batch,
                    blocks=way.blocks,
                    threads=self._resources.threads,
                    gpu=self._engines[0].device if way.on_gpu else None,
                    progress=self._resources.progress,
                )
            )
        return prediction, computed

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

        device = torch_device(self._resources).type
        if self._batch > 1:
            self._batch //= 2
            note = f"batch {self._batch}"
        elif device != "cpu" and not self._slab_here:
            self._slab_here = "memory ran out"
            note = "slab cpu"
        elif device != "cpu":
            self._engines = ()  # made anew on the CPU, where other engines run and what is known of bf16 ends
            self._resources = replace(self._resources, device="cpu", precision="fp32")
            self._batch = BATCH["cpu"]
            note = "device cpu"
        else:
            return None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning("out of memory; trying again with %s", note)
        return note

    def _used(self, effort: Effort, way: Way, fallbacks: list[str], computed: int) -> dict[str, Any]:
        engine, windows = self._engines[0], effort.windows
        return {
            "device": engine.device,
            "engine": engine.name,
            "precision": engine.precision,
            "patch": list(self._segmenter.window.patch),
            "windows": len(windows),
            "evaluations": computed,
            "skipped": way.evaluations - computed,
            "passes": effort.passes,
            "batch": way.batch,
            "blocks": way.blocks,
            "slab": list(way.slab),
            "slab_on": engine.device if way.on_gpu else "cpu",
            "axis": "ijk"[windows.axis],
            "fallbacks": fallbacks,
            "notes": self._notes(engine, way),
            "deterministic": self._resources.deterministic,
            "weights": [file.sha256 for file in self._segmenter.weights],
            **({"gpu_peak_mb": gpu.highest_bytes(engine.device) >> 20} if engine.on_gpu else {}),
        }

    def _notes(self, engine: Engine, way: Way) -> list[str]:
        notes = [*self._opening, *engine.notes]
        if engine.on_gpu and not way.on_gpu:
            notes.append(f"the slab is not on the GPU: {self._slab_here or 'it has too little memory'}")
        return notes

    def _forget_peak(self) -> None:
        if self._engines and self._engines[0].on_gpu:
            gpu.highest_bytes(self._engines[0].device, forget=True)

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


def _at_once(device: str, patch: tuple[int, ...]) -> int:
    """How many windows a device is asked for at once, if there is memory: a power of 2."""
    if device in BATCH:
        return BATCH[device]
    windows = max(1, min(MOST_AT_ONCE, GPU_VOXELS // math.prod(patch)))
    return int(2 ** math.floor(math.log2(windows)))


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
