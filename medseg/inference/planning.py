"""What sliding a network over a volume takes, told before it runs, and the way that fits into memory.

Sizes follow from what `stream` and the sinks hold at once; what the network itself takes is measured in one
pass over an empty window when it is opened. Knows no head and no label name.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

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
    "label_cost",
    "least",
    "measured_pass",
    "priced",
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
    """One pass of a network over a batch, as measured: bytes that it takes and gives back, and seconds."""

    work_bytes: int
    seconds: float


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

    `reads` are the values it computes in all, for the time.
    """

    held: int = 0
    at_work: int = 0
    reads: int = 0

    def __add__(self, other: SinkCost) -> SinkCost:
        return SinkCost(
            held=self.held + other.held,
            at_work=max(self.at_work, other.at_work),  # one sink at a time
            reads=self.reads + other.reads,
        )


def label_cost(labels: LabelTable, *, channels: int, onto: Grid, threads: int) -> SinkCost:
    """Of a sink that interpolates and decides, plane by plane: its labels, and planes on every thread."""
    highest = max((label.value for label in labels), default=0)
    voxels = math.prod(onto.shape)
    plane = voxels // min(onto.shape)  # the largest: which one it will be is not asked
    return SinkCost(
        held=labels.layers * np.min_scalar_type(highest).itemsize * voxels,
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


def reserve(peak: int) -> int:
    """What is kept free beside a foretold peak, since it may be off by as much."""
    share, floor = OFF
    return max(round(peak * share), floor)


def ways(effort: Effort, batches: Sequence[int], *, blocks_from: int = 1) -> Iterator[Way]:
    """Every way, those that take least time first: few blocks, then large batches."""
    most = min(MOST_BLOCKS, effort.windows.shape[effort.windows.across])
    for blocks in range(min(blocks_from, most), most + 1):
        for batch in sorted(batches, reverse=True):
            yield priced(effort, batch=batch, blocks=blocks)


def choose(effort: Effort, batches: Sequence[int], room: int, *, blocks_from: int = 1) -> Way | None:
    """The quickest way whose peak, with its reserve, fits into `room` bytes; None where there is none."""
    for way in ways(effort, batches, blocks_from=blocks_from):
        if way.peak_bytes + reserve(way.peak_bytes) <= room:
            return way
    return None


def least(effort: Effort, batches: Sequence[int]) -> Way:
    """The way that takes least memory."""
    return min(ways(effort, batches), key=lambda way: way.peak_bytes)
