"""A trained network at work: its weights in an engine, and the sliding window that uses it.

What does not fit is not tried: the plan cuts the plane into blocks or refuses. What a device runs out of all
the same is done again from the first window with less: a smaller batch, then the slab in the processor's
memory, then the CPU, then more blocks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.builtin.segment.ensemble import member_count
from medseg.builtin.segment.opened_network import OpenedNetwork, free_failed_attempt
from medseg.builtin.segment.wanted_sinks import WantedSinks
from medseg.errors import InputError, ResourceError
from medseg.inference import gpu
from medseg.inference.content import content_of
from medseg.inference.engines import Engine
from medseg.inference.planning import (
    Effort,
    Way,
    choose,
    choose_on_gpu,
    least,
    reserve,
)
from medseg.inference.streaming import stream
from medseg.inference.torch_runtime import torch_runtime
from medseg.inference.windows import Windows
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

AXIS_ENDS = {"left-right": "LR", "anterior-posterior": "AP", "superior-inferior": "SI"}


class NetworkPredictor(Predictor):
    """A network, opened once and used for every case.

    A device that ran out of memory once is asked for less in the cases that follow, too.
    """

    def __init__(
        self, segmenter: NetworkSegmenter, labels: LabelTable, folder: Path, resources: Resources
    ) -> None:
        for library in segmenter.head.libraries:
            import_module(library)  # before a plan counts what is resident
        self._segmenter = segmenter
        self._labels = labels
        self._outputs = segmenter.head.channels(labels)
        self._network = OpenedNetwork(segmenter, self._outputs, folder, resources)

    # ---- before it runs

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """The quickest way that fits; raises ResourceError with the memory that would do where none does."""
        release_freed_memory()
        held = resident_bytes() + promised_bytes()
        sinks = self._sinks(grid, onto, wanted)
        effort = self._effort(sinks)
        way = self._way(effort, held)
        engine, windows = self._network.engine, effort.windows
        return Plan(
            device=engine.device,
            peak_bytes=way.peak_bytes,
            resident_bytes=held,
            strategy=_in_words(windows, way, effort.slab_channels, engine) + self._more + sinks.on_disk,
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
        engine = self._network.engine
        return gpu.held_bytes(engine.device) if engine.on_gpu else 0

    @property
    def _more(self) -> str:
        """What is said of windows beside their number: those of other sizes, and those not to be computed.

        How many are empty, only the image can tell.
        """
        zoomed = "".join(f"; each at {factor:g} times its size, too" for factor in self._segmenter.zoom)
        return zoomed + (
            "; windows that are empty will be skipped" if self._segmenter.window.skip_empty else ""
        )

    def _sinks(self, grid: Grid, onto: Grid, wanted: Wanted) -> WantedSinks:
        return WantedSinks(
            head=self._segmenter.head,
            labels=self._labels,
            grid=grid,
            axis=self._windows(grid).axis,
            onto=onto,
            wanted=wanted,
            members=member_count(len(self._network.engines), len(self._mirrors(grid))),
            skip_empty=self._segmenter.window.skip_empty,
        )

    def _effort(self, sinks: WantedSinks) -> Effort:
        mirrors = self._mirrors(sinks.grid)
        passes = len(mirrors) * len(self._network.engines)
        copies = sinks.groups * ((passes > 1) + sinks.drops) + (len(mirrors) > 1)
        effort = Effort(
            windows=self._windows(sinks.grid),
            inputs=self._segmenter.channels,
            channels=self._outputs,
            slab_channels=sinks.slab_channels,
            passes=passes,
            halo=sinks.halo,
            sinks=sinks.cost(threads=1),
            one_pass=self._network.one_pass,
            extra_logits=copies,
        )
        return replace(effort, sinks=sinks.cost(threads=effort.threads))

    def _way(self, effort: Effort, held: int, *, blocks_from: int = 1) -> Way:
        given = self._network.resources.max_memory_bytes
        room = available_bytes() - promised_bytes() if given is None else given - held
        batches = self._batches(effort.windows)
        if self._network.engine.on_gpu and not self._network.slab_here:
            there = choose_on_gpu(
                effort, batches, room, gpu.free_bytes(self._network.engine.device), blocks_from=blocks_from
            )
            if there is not None:
                return there
        missed = [engine.missed for engine in self._network.engines if engine.missed is not None]
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
        counts = (self._network.batch >> n for n in range(self._network.batch.bit_length()))
        return sorted({min(count, abreast) for count in counts}, reverse=True)

    # ---- at work

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment a volume; labels are decided on the native grid."""
        self._check_channels(volume)
        fallbacks: list[str] = []
        blocks, network = 1, self._network
        network.ensure()
        earlier = tuple(network.notes)
        self._forget_peak()
        while True:
            network.ensure()
            release_freed_memory()
            sinks = self._sinks(volume.grid, onto, wanted)
            effort = self._effort(sinks)
            way = self._way(effort, resident_bytes() + promised_bytes(), blocks_from=blocks)
            begun = time.perf_counter()
            try:
                prediction, computed = self._slide(volume, sinks, way)
            except (ResourceError, MemoryError) as problem:
                of_device = isinstance(problem, ResourceError) and problem.device_memory
                if not self._may_be_less(problem, fallbacks):
                    raise
            else:
                notes = [*self._notes(way, earlier), *prediction.used.get("notes", ())]
                used = self._used(effort, way, fallbacks, computed) | {"notes": notes}
                used |= self._members(sinks)
                used["seconds"] = round(time.perf_counter() - begun, 3)
                return replace(prediction, used=used)
            blocks = self._less(way, fallbacks, of_device=of_device)

    def _may_be_less(self, problem: ResourceError | MemoryError, fallbacks: list[str]) -> bool:
        """Whether there is something left to give up where this ran out."""
        of_device = isinstance(problem, ResourceError) and problem.device_memory
        if of_device and self._network.may_step_down:
            return True
        again = any(note.startswith("blocks") for note in fallbacks)
        return (of_device or isinstance(problem, MemoryError)) and not again

    def _slide(self, volume: Volume, sinks: WantedSinks, way: Way) -> tuple[Prediction, int]:
        """What the sinks made of the volume, and how many windows were computed for it."""
        windows, mirrors = self._windows(volume.grid), self._mirrors(volume.grid)
        ensemble, computed = self._network.ensemble, 0

        def forward(images: Any) -> Any:
            nonlocal computed
            computed += len(images)
            return sinks.taken(ensemble.mean_logits(images, mirrors, apart=sinks.apart))

        with torch_runtime(self._network.resources):
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
                    threads=self._network.resources.threads,
                    gpu=self._network.engine.device if way.on_gpu else None,
                    progress=self._network.resources.progress,
                )
            )
        return prediction, computed

    def _less(self, way: Way, fallbacks: list[str], *, of_device: bool) -> int:
        """Give something up after memory ran out, note it, and say in how many blocks to begin again."""
        free_failed_attempt()
        note = self._network.step_down() if of_device else None
        if note is None:
            fallbacks.append(f"blocks {2 * way.blocks}")
            return 2 * way.blocks
        fallbacks.append(note)
        self._network.notes.append(f"memory ran out in an earlier case: {note}")
        return 1

    def _members(self, sinks: WantedSinks) -> dict[str, Any]:
        """What the members were that were kept apart, and how many."""
        of = "networks" if len(self._network.engines) > 1 else "mirrored copies"
        return {"members": f"{sinks.members} {of}"} if sinks.apart else {}

    def _used(self, effort: Effort, way: Way, fallbacks: list[str], computed: int) -> dict[str, Any]:
        engine, windows = self._network.engine, effort.windows
        return {
            "device": engine.device,
            "engine": engine.name,
            "precision": engine.precision,
            "patch": list(self._segmenter.window.patch),
            "windows": len(windows),
            "evaluations": computed,
            "skipped": way.evaluations - computed,
            "passes": effort.passes,
            **({"zoom": list(self._segmenter.zoom)} if self._segmenter.zoom else {}),
            "batch": way.batch,
            "blocks": way.blocks,
            "slab": list(way.slab),
            "slab_on": engine.device if way.on_gpu else "cpu",
            "axis": "ijk"[windows.axis],
            "fallbacks": fallbacks,
            "deterministic": self._network.resources.deterministic,
            "weights": [file.sha256 for file in self._segmenter.weights],
            **({"gpu_peak_mb": gpu.highest_bytes(engine.device) >> 20} if engine.on_gpu else {}),
        }

    def _notes(self, way: Way, earlier: Sequence[str]) -> list[str]:
        """What was not as it should be: what was given up `earlier`, and why this engine and place."""
        engine = self._network.engine
        notes = [*earlier, *engine.notes]
        if engine.on_gpu and not way.on_gpu:
            why = self._network.slab_here or "it has too little memory"
            notes.append(f"the slab is not on the GPU: {why}")
        return notes

    def _forget_peak(self) -> None:
        engine = self._network.engine
        if engine.on_gpu:
            gpu.highest_bytes(engine.device, forget=True)

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
