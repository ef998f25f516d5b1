"""What sliding a network over a volume takes, told before it runs, and the way that fits into memory.

Sizes follow from what `stream` and the sinks hold at once; what the network itself takes is measured in one
pass over an empty window when it is opened. Knows no head and no label name.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medseg.inference.processors import processor_count
from medseg.inference.windows import Windows
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes
from medseg.segmentation import LabelTable
from medseg.volume import Grid

__all__ = [
    "Effort",
    "Pass",
    "SinkCost",
    "Way",
    "choose",
    "choose_on_gpu",
    "label_cost",
    "least",
    "measured_pass",
    "priced",
    "priced_on_gpu",
    "reserve",
]

FLOAT = 4  # bytes
MOST_THREADS = 8  # of `background`
MOST_BLOCKS = 64
OFF = 0.15, 64 << 20  # how far a foretold peak may be from the real one: the larger of a share and bytes
QUICK_S = 1.0  # a pass as short as this is timed again, without what the first one sets up
ADD_S, READ_S = 4e-9, 6e-9  # seconds a channel and voxel: into the slab; onto the native grid, on one thread


@dataclass(frozen=True)
class Pass:
    """One pass of a network over a batch, as measured: bytes that it takes and gives back, and seconds.

    `work_bytes` are of the process, `gpu_bytes` of the GPU where it runs on one, its logits included.
    """

    work_bytes: int
    seconds: float
    gpu_bytes: int = 0

    def of(self, share: float) -> Pass:
        """A pass over a batch that is larger or smaller by so much."""
        return Pass(round(self.work_bytes * share), self.seconds * share, round(self.gpu_bytes * share))


def measured_pass(forward: Callable[[NDArray[np.float32]], object], shape: Sequence[int]) -> Pass:
    """Run a network once over a batch `[N, C, *patch]` of zeros and see what it takes.

    What stays resident (libraries, buffers that it keeps) is none of `work_bytes`: it is there from now on.
    Nothing else must take memory in this process meanwhile.
    """
    images = np.zeros(shape, np.float32)
    release_freed_memory()
    reset_peak()
    begun = time.perf_counter()
    forward(images)
    seconds = time.perf_counter() - begun
    peak = peak_bytes()
    if seconds < QUICK_S:
        begun = time.perf_counter()
        forward(images)
        seconds = min(seconds, time.perf_counter() - begun)
    release_freed_memory()
    return Pass(max(0, peak - resident_bytes()), seconds)


@dataclass(frozen=True, kw_only=True)
class SinkCost:
    """What a sink takes: `held` bytes from the first slab to the end, and `at_work` while it takes one.

    `reads` are the values it computes in all, for the time. `labels` are those of `held` that a GPU holds too
    where it decides them; `fetches` says whether the sink takes scores from a GPU instead.
    """

    held: int = 0
    at_work: int = 0
    reads: int = 0
    labels: int = 0
    fetches: bool = False

    def __add__(self, other: SinkCost) -> SinkCost:
        return SinkCost(
            held=self.held + other.held,
            at_work=max(self.at_work, other.at_work),  # one sink at a time
            reads=self.reads + other.reads,
            labels=self.labels + other.labels,
            fetches=self.fetches or other.fetches,
        )


def label_cost(labels: LabelTable, *, channels: int, onto: Grid, threads: int) -> SinkCost:
    """Of a sink that interpolates and decides, plane by plane: its labels, and planes on every thread."""
    highest = max((label.value for label in labels), default=0)
    voxels = math.prod(onto.shape)
    plane = voxels // min(onto.shape)  # the largest: which one it will be is not asked
    held = labels.layers * np.min_scalar_type(highest).itemsize * voxels
    return SinkCost(
        held=held,
        labels=held,
        at_work=threads * 6 * FLOAT * plane,  # best, score, two reads, comparison and winner
        reads=channels * voxels,
    )


@dataclass(frozen=True, kw_only=True)
class Effort:
    """A network, a volume, and what is to be kept of its scores: all that planning looks at.

    `slab_channels` are those that the slab holds: `channels` of the network, and more where members of an
    ensemble are kept apart. `extra_logits` are copies of a batch's logits that lie beside the engine's own.
    """

    windows: Windows
    inputs: int
    channels: int
    slab_channels: int
    passes: int
    halo: int
    sinks: SinkCost
    one_pass: Callable[[int], Pass] = field(repr=False)
    extra_logits: int = 1
    threads: int = field(default_factory=lambda: min(MOST_THREADS, processor_count()))


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to do it, and what it takes beyond what the process holds before."""

    batch: int
    blocks: int
    slab: tuple[int, int, int]
    evaluations: int
    peak_bytes: int
    seconds: float
    gpu_bytes: int = 0
    on_gpu: bool = False  # whether image, slab and labels lie on the GPU


def priced(effort: Effort, *, batch: int, blocks: int) -> Way:
    """What a batch and a number of blocks come to."""
    windows, axis = effort.windows, effort.windows.axis
    slab = windows.slab(axis, blocks=blocks, halo=effort.halo)
    evaluations = windows.evaluations(blocks=blocks, halo=effort.halo)
    patch, voxels = math.prod(windows.patch), math.prod(slab)
    held = FLOAT * (effort.slab_channels + 1) * voxels + effort.sinks.held
    # The thread beside the network adds a batch's logits, or hands slices to a sink, or moves the slab on.
    adding = FLOAT * patch * (3 + 2 * effort.threads)
    waiting = FLOAT * batch * patch * (2 * effort.inputs + effort.slab_channels)
    beside = max(adding, effort.sinks.at_work, FLOAT * voxels)
    passing = (
        effort.one_pass(batch).work_bytes + FLOAT * batch * patch * effort.channels * effort.extra_logits
    )
    network = effort.one_pass(batch).seconds / batch * evaluations * effort.passes
    rest = ADD_S * effort.slab_channels * patch * evaluations + READ_S * effort.sinks.reads
    return Way(
        batch=batch,
        blocks=blocks,
        slab=slab,
        evaluations=evaluations,
        peak_bytes=held + waiting + beside + passing,
        seconds=network + rest / effort.threads,  # added, as both want the same processors
    )


def priced_on_gpu(effort: Effort, *, batch: int, blocks: int) -> Way:
    """The same where image, slab and labels lie on the GPU that runs the network."""
    here = priced(effort, batch=batch, blocks=blocks)
    one, sinks, voxels = effort.one_pass(batch), effort.sinks, math.prod(here.slab)
    image = FLOAT * effort.inputs * math.prod(effort.windows.shape)
    patch = FLOAT * math.prod(effort.windows.patch)
    logits = batch * (effort.slab_channels + effort.channels * effort.extra_logits)  # of the batch before
    held = FLOAT * (effort.slab_channels + 2) * voxels + image + sinks.labels
    pinned = 1 << (sinks.labels - 1).bit_length() if sinks.labels else 0  # PyTorch takes a power of 2
    fetched = FLOAT * effort.channels * voxels + sinks.at_work if sinks.fetches else 0
    return replace(
        here,
        peak_bytes=sinks.held - sinks.labels + pinned + max(image, fetched),
        seconds=one.seconds / batch * here.evaluations * effort.passes,
        gpu_bytes=held + patch * (logits + 2 * batch * effort.inputs + 2) + one.gpu_bytes,
        on_gpu=True,
    )


def reserve(peak: int) -> int:
    """What is kept free beside a foretold peak, since it may be off by as much."""
    share, floor = OFF
    return max(round(peak * share), floor)


def ways(effort: Effort, batches: Sequence[int], *, blocks_from: int = 1) -> Iterator[Way]:
    """Every way, those that take least time first: few blocks, then large batches."""
    for blocks, batch in _choices(effort, batches, blocks_from):
        yield priced(effort, batch=batch, blocks=blocks)


def _choices(effort: Effort, batches: Sequence[int], blocks_from: int) -> Iterator[tuple[int, int]]:
    most = min(MOST_BLOCKS, effort.windows.shape[effort.windows.across])
    for blocks in range(min(blocks_from, most), most + 1):
        for batch in sorted(batches, reverse=True):
            yield blocks, batch


def choose(effort: Effort, batches: Sequence[int], room: int, *, blocks_from: int = 1) -> Way | None:
    """The quickest way whose peak, with its reserve, fits into `room` bytes; None where there is none."""
    for way in ways(effort, batches, blocks_from=blocks_from):
        if way.peak_bytes + reserve(way.peak_bytes) <= room:
            return way
    return None


def choose_on_gpu(
    effort: Effort, batches: Sequence[int], room: int, gpu_room: int, *, blocks_from: int = 1
) -> Way | None:
    """The quickest way with the slab on the GPU, which has `gpu_room` bytes free; None if there is none."""
    for blocks, batch in _choices(effort, batches, blocks_from):
        way = priced_on_gpu(effort, batch=batch, blocks=blocks)
        fits = way.peak_bytes + reserve(way.peak_bytes) <= room
        if fits and way.gpu_bytes + reserve(way.gpu_bytes) <= gpu_room:
            return way
    return None


def least(effort: Effort, batches: Sequence[int]) -> Way:
    """The way that takes least memory."""
    return min(ways(effort, batches), key=lambda way: way.peak_bytes)
