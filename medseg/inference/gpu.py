"""The sliding window in the memory of a GPU: image, slab and labels lie there, logits never leave it.

All work is put into the GPU's one queue and not waited for, so that it finds its next window ready; what
waits is the last step, which brings the labels, one small number a voxel. Needs Triton, which PyTorch for
GPUs brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.inference.channel_group import ChannelGroup
from medseg.inference.placement import Box, Spots
from medseg.inference.sinks import LabelSink
from medseg.inference.slab import Slab, not_finite
from medseg.inference.streaming import Streaming
from medseg.inference.windows import Region, Windows
from medseg.prediction import Scores, Sink
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    import torch

__all__ = ["GpuStreaming", "image_bytes", "lacking"]

SENT_AS_THEY_ARE = ("float32", "float16", "int16", "uint8", "int8", "int32")
MOST_OFFSET = (1 << 31) - 1  # of a voxel in a channel, counted in 32 bits
SIGNED = {1: "uint8", 2: "int16", 4: "int32"}  # by bytes; PyTorch does little with larger unsigned numbers


def lacking() -> str | None:
    """What is missing for slabs on a GPU, in a word; None where nothing is."""
    return None if find_spec("triton") else "Triton is not installed"


def image_bytes(shape: Sequence[int]) -> int:
    """What an image `[C, i, j, k]` of such a shape takes on a GPU at most."""
    return 4 * int(np.prod(shape))


class GpuStreaming(Streaming):
    """What streaming works on, in the memory of a GPU."""

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
        array = volume.array if volume.array.dtype.name in SENT_AS_THEY_ARE else volume.array.astype("float32")
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

    def finish(self) -> tuple[Any, ...]:
        """What the sinks made of it; waits for all that was begun."""
        if int(self.broken.item()):
            raise not_finite()
        return super().finish()


class GpuSlab(Slab):
    """A slab in the memory of a GPU."""

    def __init__(self, streaming: GpuStreaming, region: Region, channels: int) -> None:
        self._device = streaming.device
        self._broken = streaming.broken
        super().__init__(streaming.grid, streaming.windows, region, channels, streaming.halo)

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A new tensor of zeros."""
        import torch

        return torch.zeros(shape, device=self._device)

    def copied(self, values: torch.Tensor) -> torch.Tensor:
        """A copy of a tensor."""
        return values.clone()

    def update(self, here: Region | tuple[slice, ...], scores: torch.Tensor, share: torch.Tensor) -> None:
        """Move the mean at `here` towards `scores` by `share`; scores that are not finite are told at the end."""
        from medseg.inference.gpu_kernels import move_mean

        move_mean(self.mean[:, *here], scores, share, self._broken)

    def hand(self, sink: Sink, stop: int) -> None:
        """Give a sink the slices up to `stop`, with its halo before them: here, or in the processor's memory."""
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
    decides = isinstance(sink, LabelSink) and sink.placement.lines is not None
    return GpuLabels(sink, device) if isinstance(sink, LabelSink) and decides else sink


class GpuLabels(Sink):
    """Decides the labels of a sink in the memory of a GPU, and brings them when all are there."""

    def __init__(self, sink: LabelSink, device: torch.device) -> None:
        import torch

        self._sink = sink
        self.halo = sink.halo
        kind = getattr(torch, SIGNED[sink.array.itemsize])
        self._labels = torch.zeros(sink.array.shape, dtype=kind, device=device)
        axis = sink.placement.axis
        self._order = (axis, *(other for other in range(3) if other != axis))
        lines = sink.placement.lines or ()
        self._lines = [_sent(spots, device) for _, spots in lines]
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
        for number, rule in enumerate(self._rules):
            first, steps = self._elements(number, box)
            decide(
                self._labels,
                first,
                [steps[axis] for axis in self._order],
                scores.permute(0, *(1 + axis for axis in self._order)),
                [tuple(values[box.within[axis]] for values in self._lines[axis]) for axis in self._order],
                [box.corner[axis] for axis in self._order],
                rule,
            )

    def _elements(self, layer: int, box: Box) -> tuple[int, list[int]]:
        """Where a box's first voxel lies in the labels' memory, and how far it is to the next along each axis."""
        view = self._sink.placement.view(self._sink.array[layer])
        size = view.itemsize
        steps = [step // size for step in view.strides]
        origin = view.__array_interface__["data"][0] - self._sink.array.__array_interface__["data"][0]
        corner = sum(part.start * step for part, step in zip(box.where, steps, strict=True))
        return origin // size + corner, steps

    def finish(self) -> Any:
        """The labels on the native grid."""
        found: NDArray[Any] = self._labels.cpu().numpy()
        self._sink.array[:] = found.view(self._sink.array.dtype)
        return self._sink.finish()


def _sent(spots: Spots, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    import torch

    low, high = (torch.tensor(which.astype(np.int32), device=device) for which in (spots.low, spots.high))
    return low, high, torch.tensor(spots.share, device=device)
