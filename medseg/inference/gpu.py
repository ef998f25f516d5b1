"""The sliding window in the memory of a GPU: image, slab and labels lie there, logits never leave it.

All work is put into the GPU's one queue and not waited for, so that it finds its next window ready; what
waits is the last step, which brings the labels, one small number a voxel. Needs Triton, which PyTorch for
GPUs brings along.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ResourceError, in_one_line
from medseg.inference.channel_group import ChannelGroup
from medseg.inference.feed import Feed, Step
from medseg.inference.placement import Box, Spots
from medseg.inference.planning import Pass
from medseg.inference.sinks import LabelSink
from medseg.inference.slab import Slab, not_finite
from medseg.inference.windows import Region, Windows
from medseg.prediction import Scores, Sink
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    import torch

__all__ = [
    "GpuFeed",
    "decides",
    "fault",
    "free_bytes",
    "held_bytes",
    "highest_bytes",
    "lacking",
    "measured_pass",
    "release_freed_memory",
]

SENT_AS_THEY_ARE = ("float32", "float16", "int16", "uint8", "int8", "int32")
MOST_VALUE = (1 << 31) - 1  # of a label that a kernel holds
SIGNED = {1: "uint8", 2: "int16", 4: "int32"}  # by bytes; PyTorch does little with larger unsigned numbers


def lacking() -> str | None:
    """What is missing for slabs on a GPU, in a word; None where nothing is."""
    return None if find_spec("triton") else "Triton is not installed"


def free_bytes(device: str) -> int:
    """Memory of a GPU that this process can have: what is free, and what PyTorch keeps and does not use."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def held_bytes(device: str) -> int:
    """What of a GPU is in use now."""
    import torch

    return int(torch.cuda.memory_allocated(device))


def highest_bytes(device: str, *, forget: bool = False) -> int:
    """The most of a GPU that was in use at once; with `forget`, from now on."""
    import torch

    if forget:
        torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.max_memory_allocated(device))


def measured_pass(infer: Callable[[torch.Tensor], torch.Tensor], shape: Sequence[int], device: str) -> Pass:
    """Run a network twice over a batch `[N, C, *patch]` of zeros, and see what the second pass takes.

    What it takes of the process is room to bring the logits, where the slab is not on the GPU.
    """
    import torch

    images = torch.zeros(tuple(shape), device=device)
    infer(images)
    torch.cuda.synchronize(device)
    before = highest_bytes(device, forget=True)
    begun = time.perf_counter()
    logits = infer(images)
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - begun
    brought = 4 * (images.numel() + logits.numel())
    return Pass(brought, seconds, highest_bytes(device) - before)


def fault(device: str, precision: str) -> str | None:
    """Why the kernels cannot be used on this GPU, in one line; None where they can, and are compiled then.

    Triton needs a C compiler and Python's headers. Raises ResourceError where the GPU has no memory left.
    """
    import torch

    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    try:
        with _on(torch.device(device)):
            for kind in {torch.float32, kinds.get(precision, torch.float32)}:
                _try_kernels(device, kind)
    except Exception as problem:  # Triton's own, the compiler's, the driver's: of any kind
        if isinstance(problem, ResourceError | torch.OutOfMemoryError) or "out of memory" in str(problem):
            raise
        return f"Triton does not work here: {in_one_line(problem)[:160]}"
    return None


def _try_kernels(device: str, kind: torch.dtype) -> None:
    """Run each kernel once on next to nothing, for logits of this type, and wait for what it says."""
    import torch

    from medseg.inference.gpu_kernels import decide, move_mean

    mean = torch.zeros((1, 1, 1, 1), device=device)
    broken, none = torch.zeros((2, 1), dtype=torch.int32, device=device)
    move_mean(mean, mean.to(kind), torch.ones((1, 1, 1), device=device), broken)
    lines = [_Line(none, none, torch.zeros(1, device=device))] * 3
    labels = torch.zeros(1, dtype=torch.uint8, device=device)
    wide = torch.zeros((1, 2, 2, 2), device=device)
    for order in ((0, 1, 2), (2, 0, 1)):
        turned = wide.permute(0, *(1 + axis for axis in order))
        decide(turned, lines, (0, 0, 0), (none, none + 7, -1.0), into=(labels, 0, (1, 1, 1)))
    if broken.item() or labels.item() != 7:
        raise RuntimeError("its kernels compute something else")


def release_freed_memory() -> None:
    """Give what PyTorch keeps of GPUs and does not use back to them."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def decides(sink: Sink) -> bool:
    """Whether a sink's labels can be decided on a GPU: as `LabelSink` does it, along straight axes."""
    return (
        isinstance(sink, LabelSink)
        and type(sink).take is LabelSink.take  # a subclass may decide in its own way
        and type(sink).begin is LabelSink.begin
        and sink.placement.lines is not None
        and max((label.value for label in sink.labels), default=0) <= MOST_VALUE
    )


class GpuFeed(Feed):
    """The same in the memory of a GPU."""

    def __init__(
        self,
        device: str,
        volume: Volume,
        windows: Windows,
        sinks: Sequence[Sink],
        halo: int,
        empty: Sequence[float] | None,
    ) -> None:
        import torch

        super().__init__(volume, windows, sinks, halo, empty)
        self.device = torch.device(device)
        kind = volume.array.dtype.name if volume.array.dtype.name in SENT_AS_THEY_ARE else "float32"
        array = np.ascontiguousarray(volume.array, kind)  # whatever its strides and order of bytes
        self.image = torch.tensor(array, device=self.device)
        self.weight = torch.tensor(self.weight, device=self.device)
        self.broken = torch.zeros(1, dtype=torch.int32, device=self.device)
        self.sinks = tuple(_here(sink, self.device) for sink in sinks)

    def windows_array(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A new tensor for windows."""
        import torch

        return torch.empty(shape, device=self.device)

    def new_slab(self, region: Region, channels: int) -> GpuSlab:
        """The slab of a block."""
        return GpuSlab(self, region, channels)

    def take(self, step: Step, logits: Any) -> None:
        """Take the logits of a step's windows in, and hand on what they finish."""
        with _on(self.device):
            super().take(step, logits)

    def finish(self) -> tuple[Any, ...]:
        """What the sinks made of it; waits for all that was begun."""
        with _on(self.device):
            if int(self.broken.item()):
                raise not_finite()
            return super().finish()


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Let kernels of this thread run on a device, which may be another than the first GPU.

    The processor is one where Triton's interpreter stands in for its compiler.
    """
    import torch

    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        yield


class GpuSlab(Slab):
    """A slab in the memory of a GPU."""

    def __init__(self, feed: GpuFeed, region: Region, channels: int) -> None:
        self._device = feed.device
        self._broken = feed.broken
        super().__init__(feed.grid, feed.windows, region, channels, feed.halo)

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A new tensor of zeros."""
        import torch

        return torch.zeros(shape, device=self._device)

    def copied(self, values: torch.Tensor) -> torch.Tensor:
        """A copy of a tensor."""
        return values.clone()

    def update(self, here: Region | tuple[slice, ...], scores: torch.Tensor, share: torch.Tensor) -> None:
        """Move the mean at `here` towards `scores` by `share`; what is not finite is told at the end."""
        from medseg.inference.gpu_kernels import move_mean

        move_mean(self.mean[:, *here], scores, share, self._broken)

    def hand(self, sink: Sink, stop: int) -> None:
        """Give a sink the slices up to `stop` with its halo before them, here or in the CPU's memory."""
        part, grid, start = self.part(sink.halo, stop)
        _give(sink, part, grid, start)


def _give(sink: Sink, part: torch.Tensor, grid: Grid, start: int) -> None:
    """Hand a part of a slab to whoever takes it."""
    if isinstance(sink, GpuLabels):
        sink.decide(part, start)
    elif isinstance(sink, ChannelGroup):
        _give(sink.sink, part[sink.channels], grid, start)
    else:
        sink.take(Scores(part.cpu().numpy(), grid, "logits"), start)


def _here(sink: Sink, device: torch.device) -> Sink:
    """A sink that decides labels on the GPU, if this one decides any along straight axes; else itself."""
    if isinstance(sink, ChannelGroup):
        inner = _here(sink.sink, device)
        return ChannelGroup(inner, first=sink.channels.start, count=sink.channels.stop - sink.channels.start)
    return GpuLabels(sink, device) if isinstance(sink, LabelSink) and decides(sink) else sink


class GpuLabels(Sink):
    """Decides the labels of a sink in the memory of a GPU, and brings them when all are there."""

    def __init__(self, sink: LabelSink, device: torch.device) -> None:
        import torch

        self._sink = sink
        self.halo = sink.halo
        kind = getattr(torch, SIGNED[sink.array.itemsize])
        self._labels = torch.zeros(sink.array.shape, dtype=kind, device=device)
        self._brought: torch.Tensor | None = None
        self._begun = False
        axis = sink.placement.axis
        self._order = (axis, *(other for other in range(3) if other != axis))
        lines = sink.placement.lines or ()
        self._lines = [_Line.of(spots, device) for _, spots in lines]
        self._rules = [
            (
                torch.tensor([channel for channel, _ in rule.values], dtype=torch.int32, device=device),
                torch.tensor([value for _, value in rule.values], dtype=torch.int32, device=device),
                float(rule.above),
            )
            for rule in sink.rules("logits")
        ]

    def begin(self, region: Region) -> None:
        """Expect the slabs of a block next."""
        self._sink.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """As the sink itself does: of scores that lie in the processor's memory."""
        self._sink.take(slab, start)

    def decide(self, scores: torch.Tensor, start: int) -> None:
        """Decide the native voxels that can be decided now that `scores[K, i, j, k]` have come."""
        from medseg.inference.gpu_kernels import decide

        self._sink.expect(len(scores))
        box = self._sink.placement.box(scores.shape[1:], start)
        if box is None:
            return
        if not self._begun:  # only now: the GPU is at work, and making room takes as long as bringing labels
            self._begun, self._brought = True, _pinned(self._labels)
        for number, rule in enumerate(self._rules):
            first, steps = self._elements(number, box)
            decide(
                scores.permute(0, *(1 + axis for axis in self._order)),
                [self._lines[axis].at(box.within[axis]) for axis in self._order],
                [box.corner[axis] for axis in self._order],
                rule,
                into=(self._labels, first, [steps[axis] for axis in self._order]),
            )

    def _elements(self, layer: int, box: Box) -> tuple[int, list[int]]:
        """Where a box's first voxel lies in the labels' memory, and how far off the next are."""
        view = self._sink.placement.view(self._sink.array[layer])
        size = view.itemsize
        steps = [step // size for step in view.strides]
        origin = view.__array_interface__["data"][0] - self._sink.array.__array_interface__["data"][0]
        corner = sum(part.start * step for part, step in zip(box.where, steps, strict=True))
        return origin // size + corner, steps

    def finish(self) -> Any:
        """The labels on the native grid."""
        brought = self._labels.cpu() if self._brought is None else self._brought.copy_(self._labels)
        found: NDArray[Any] = brought.numpy()
        self._sink.array = found.view(self._sink.array.dtype)
        return self._sink.finish()


def _pinned(labels: torch.Tensor) -> torch.Tensor | None:
    """Memory of the processor that a GPU writes into by itself; None where it cannot be had."""
    import torch

    if labels.device.type != "cuda":
        return None
    try:
        return torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
    except RuntimeError:  # the system allows no more of it
        return None


class _Line(NamedTuple):
    """What `Spots` holds, in the memory of a GPU."""

    low: torch.Tensor
    high: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, spots: Spots, device: torch.device) -> _Line:
        import torch

        low, high = (torch.tensor(which.astype(np.int32), device=device) for which in (spots.low, spots.high))
        return cls(low, high, torch.tensor(spots.share, device=device))

    def at(self, part: slice) -> _Line:
        return _Line(self.low[part], self.high[part], self.share[part])
