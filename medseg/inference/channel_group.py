"""Sinks that see some channels of a slab: the members of an ensemble lie side by side in it."""

from __future__ import annotations

from typing import Any

from medseg.inference.windows import Region
from medseg.prediction import Scores, Sink

__all__ = ["ChannelGroup"]


class ChannelGroup(Sink):
    """Hands a sink the channels `first` to `first + count` of each slab."""

    def __init__(self, sink: Sink, *, first: int, count: int) -> None:
        self.sink = sink
        self.channels = slice(first, first + count)
        self.halo = sink.halo

    def begin(self, region: Region) -> None:
        """Another block of the plane follows."""
        self.sink.begin(region)

    def take(self, slab: Scores, start: int) -> None:
        """Hand on this group's channels."""
        self.sink.take(Scores(slab.array[self.channels], slab.grid, slab.kind), start)

    def finish(self) -> Any:
        """What the sink made of them."""
        return self.sink.finish()
