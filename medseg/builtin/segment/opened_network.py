"""A network with its weights in an engine, and what is asked of the device after its memory ran out."""

from __future__ import annotations

import gc
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.builtin.segment.ensemble import Ensemble, unmirrors_itself
from medseg.errors import ResourceError
from medseg.inference import gpu
from medseg.inference.engines import Engine, Recipe, open_engine
from medseg.inference.planning import Pass, measured_pass
from medseg.inference.torch_runtime import torch_device, torch_runtime
from medseg.memory import release_freed_memory, resident_bytes
from medseg.prediction import Resources
from medseg.weights import WeightsFile, load_weights

if TYPE_CHECKING:
    from medseg.builtin.segment.network import NetworkSegmenter

__all__ = ["OpenedNetwork", "free_failed_attempt"]

logger = logging.getLogger(__name__)

BATCH = {"cpu": 1}  # windows at once: a processor is busy with one
GPU_VOXELS, MOST_AT_ONCE = 8 * 128**3, 32  # a GPU gets so many voxels: with more it gains little


class OpenedNetwork:
    """The members of an ensemble, often one, each in an engine; opened anew where a device is given up.

    `batch` is how many windows may be computed at once, `slab_here` why the slab is not on the GPU, empty
    where it may be; both are for good once memory ran out. `notes` say what was given up, and when.
    """

    def __init__(
        self, segmenter: NetworkSegmenter, channels: int, folder: Path, resources: Resources
    ) -> None:
        self._segmenter = segmenter
        self._channels = channels
        self._folder = folder
        self.resources = resources
        self.engines: tuple[Engine, ...] = ()
        self.notes: list[str] = []
        self._enlarged = max((1.0, *segmenter.zoom)) ** segmenter.dims
        voxels = math.prod(segmenter.window.patch) * self._enlarged
        self.batch = _at_once(torch_device(resources).type, voxels)
        self.slab_here = gpu.lacking() or unmirrors_itself(segmenter.head) or ""
        self.ensure()

    @property
    def engine(self) -> Engine:
        """The first member's; all are of one kind."""
        return self.engines[0]

    @property
    def ensemble(self) -> Ensemble:
        """The members as one."""
        flat = self._segmenter.dims == 2
        return Ensemble(self.engines, self._segmenter.head, self._channels, flat)

    def ensure(self) -> None:
        """Open it if it is not, with less where a GPU runs out of memory meanwhile; raises ResourceError."""
        while not self.engines:
            ran_out = False
            try:
                self._open()
            except ResourceError as problem:
                self.engines = ()
                ran_out = problem.device_memory
                if not (ran_out and self.may_step_down):
                    raise
            if ran_out:
                free_failed_attempt()
                note = self.step_down()
                assert note is not None  # there was something to give up
                self.notes.append(f"memory ran out while the model was opened: {note}")

    def _open(self) -> None:
        """Make the engines, and see in one pass of the first what they take."""
        segmenter = self._segmenter
        with torch_runtime(self.resources):
            release_freed_memory()
            self.engines = tuple(self._engine(file) for file in segmenter.weights)
            shape = (self.batch, segmenter.channels, *segmenter.window.patch)
            self._opened_batch = self.batch
            engine = self.engine
            if engine.on_gpu:
                self.slab_here = self.slab_here or gpu.fault(engine.device, engine.precision) or ""
                self._pass = gpu.measured_pass(engine.infer, shape, engine.device)
            else:
                self._pass = self._foretold_pass() or measured_pass(engine, shape)

    def _foretold_pass(self) -> Pass | None:
        """What a pass is likely to take, where one would pass the limit (then no plan fits); else None."""
        limit, taken = self.resources.max_memory_bytes, self.engine.pass_bytes
        if limit is None or resident_bytes() + taken <= limit:
            return None
        return Pass(taken, 0.0)

    def _engine(self, file: WeightsFile) -> Engine:
        segmenter = self._segmenter
        member = segmenter.architecture.build(
            dims=segmenter.dims, inputs=segmenter.channels, outputs=self._channels
        )
        load_weights(member, self._folder, file)
        built_by, built_as = type(segmenter.architecture), repr(segmenter.architecture)
        if segmenter.zoom:
            from medseg.builtin.segment.zoomed import Zoomed

            member = Zoomed(member, segmenter.zoom, segmenter.architecture.divisor(dims=segmenter.dims))
            built_as += f" zoomed {segmenter.zoom!r}"
        if segmenter.temperature != 1:
            from medseg.builtin.segment.temperature import Tempered

            member = Tempered(member, segmenter.temperature)
            built_as += f" at {segmenter.temperature!r}"
        return open_engine(
            member,
            recipe=Recipe(built_by.__module__, built_as, self._channels),
            sha256=file.sha256,
            batch=self.batch,
            channels=segmenter.channels,
            patch=segmenter.window.patch,
            resources=self.resources,
            enlarged=self._enlarged,
            precision="fp32" if self.resources.precision == "auto" else self.resources.precision,
        )

    def one_pass(self, batch: int) -> Pass:
        """What a batch takes, in proportion to the one that was measured."""
        return self._pass.of(batch / self._opened_batch)

    @property
    def may_step_down(self) -> bool:
        """Whether there is something left to give up."""
        return self.batch > 1 or torch_device(self.resources).type != "cpu"

    def step_down(self) -> str | None:
        """Ask the device for less, or leave it for the CPU; what was done, None where nothing is left."""
        device = torch_device(self.resources).type
        if self.batch > 1:
            self.batch //= 2
            note = f"batch {self.batch}"
        elif device != "cpu" and not self.slab_here:
            self.slab_here = "memory ran out"
            note = "slab cpu"
        elif device != "cpu":
            self.engines = ()  # made anew on the CPU, where other engines run and what is known of bf16 ends
            self.resources = replace(self.resources, device="cpu", precision="fp32")
            self.batch = BATCH["cpu"]
            note = "device cpu"
        else:
            return None
        logger.warning("out of memory; trying again with %s", note)
        return note


def free_failed_attempt() -> None:
    """Free what a run held that memory ran out in; call it behind its exception, which holds all of it."""
    gc.collect()  # its frames refer to each other
    gpu.release_freed_memory()


def _at_once(device: str, voxels: float) -> int:
    """How many windows of so many voxels a device is asked for at once, if there is memory: a power of 2."""
    if device in BATCH:
        return BATCH[device]
    windows = max(1, min(MOST_AT_ONCE, GPU_VOXELS / voxels))
    return int(2 ** math.floor(math.log2(windows)))
