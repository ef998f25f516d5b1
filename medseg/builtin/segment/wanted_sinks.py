"""The sinks that keep what is wanted of a network's scores, what they take, and what they make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from medseg.errors import PluginError
from medseg.inference import gpu
from medseg.inference.channel_group import ChannelGroup
from medseg.inference.coverage import MOST_VALUES
from medseg.inference.entropy import ENTROPY_TYPE, EntropySink
from medseg.inference.objects import ObjectSink
from medseg.inference.planning import FLOAT, SinkCost, label_cost
from medseg.inference.refining import Refinable
from medseg.inference.score_store import STORED, ScoreSink, ScoreStore, stored_bytes
from medseg.inference.soft_volume import SoftVolumeSink
from medseg.prediction import Prediction, Sink, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head
from medseg.volume import Grid, Volume

__all__ = ["WantedSinks"]

EVERYWHERE = Wanted(whole_scores=True)
ID_BYTES = np.dtype(np.uint32).itemsize


@dataclass(frozen=True, kw_only=True)
class WantedSinks:
    """What is to be kept of the scores of one volume.

    `grid` is that of the scores, which come along `axis`; `onto` the native one. `members`, the networks of
    an ensemble or the mirrored copies that one is shown, have their channels behind those of the mean where
    they are wanted apart. With `skip_empty`, windows without content have no scores, and their voxels get
    those of the background.

    Where not all labels are wanted and the head can do without their channels, the slab holds fewer.
    """

    head: Head
    labels: LabelTable
    grid: Grid
    axis: int
    onto: Grid
    wanted: Wanted
    members: int
    skip_empty: bool = False

    @property
    def groups(self) -> int:
        """How many times the head's channels lie in the slab: the mean's, and each member's if wanted."""
        return 1 + self.members if self.apart else 1

    @property
    def apart(self) -> bool:
        """Whether members are kept apart; a single one is the mean."""
        return self.wanted.members and self.members > 1

    @cached_property
    def decided(self) -> LabelTable:
        """The labels whose channels are needed; entropy, and scores of all labels, need all."""
        scored = self.wanted.score_labels if self.wanted.scores else frozenset[str]()
        if self.head.activation != "sigmoid" or scored is None or "entropy" in self.reductions:
            return self.labels
        if not self.wanted.labels or self.wanted.refinable:
            return self.labels
        names = self.wanted.labels | scored
        self.labels.only(names)  # refuses what is no label
        return self.head.deciding(self.labels, names)

    @property
    def slab_channels(self) -> int:
        """Channels that the slab holds: of the mean, then of each member that is kept apart."""
        return self.groups * (self._channels if self._kept is None else len(self._kept))

    @property
    def drops(self) -> bool:
        """Whether the slab holds fewer channels than the network gives."""
        return self._kept is not None

    def taken(self, logits: Any) -> Any:
        """Of logits `[N, C, *patch]`, arrays or tensors, the channels that the slab holds, group by group."""
        if self._kept is None:
            return logits
        return logits[:, [n * self._channels + channel for n in range(self.groups) for channel in self._kept]]

    @property
    def _channels(self) -> int:
        return self.head.channels(self.labels)

    @cached_property
    def _kept(self) -> list[int] | None:
        """Which of the head's channels are needed, in their order; None for all."""
        decided = self.decided
        if len(decided) == len(self.labels):
            return None
        return [channel for channel, label in enumerate(self.labels) if label.name in decided]

    @property
    def background(self) -> tuple[float, ...] | None:
        """What the slab's channels hold where no window is computed; None where all are."""
        if not self.skip_empty:
            return None
        logits = self.head.background_logits(self.labels)
        assert logits is not None  # bound() refuses such a head
        kept = logits if self._kept is None else tuple(logits[channel] for channel in self._kept)
        return kept * self.groups

    @property
    def reductions(self) -> frozenset[str]:
        """Streamed sums that can be had: of probabilities, which not every head's channels are."""
        if self.head.activation is None:
            return frozenset()
        possible = {"entropy"} | ({"soft-volume"} if self.grid.unit == "mm" else set())
        return self.wanted.reductions & possible

    @property
    def halo(self) -> int:
        """Slices of the past that the slab keeps for a sink: those of linear interpolation at most."""
        return 1

    def cost(self, *, threads: int) -> SinkCost:
        """What these sinks take."""
        channels = self.slab_channels // self.groups
        cost = SinkCost()
        for _ in range(self.groups):
            cost += self._label_cost(channels, threads)
        voxels = math.prod(self.grid.shape)
        if self.skip_empty:
            cost += SinkCost(held=voxels, at_work=voxels)  # where there is content, and of a channel
        at_work = threads * 4 * FLOAT * max(MOST_VALUES, channels * max(self.grid.shape))
        for name in self.reductions:
            held = voxels * ENTROPY_TYPE.itemsize if name == "entropy" else 0
            cost += SinkCost(held=held, at_work=at_work, reads=4 * channels * voxels, fetches=True)
        stores = self.wanted.scores + self.refinable + self.groups * (self._objects_bytes > 0)
        for _ in range(stores):  # on disk; what is being written is mapped
            mapped = channels * voxels // self.grid.shape[self.axis] * STORED.itemsize
            cost += SinkCost(at_work=at_work + mapped, reads=4 * channels * voxels, fetches=True)
        return cost

    def _label_cost(self, channels: int, threads: int) -> SinkCost:
        """Of one group's labels or objects."""
        native = self.head.decodes_on == "native"
        decoded = self.onto if native else self.grid
        cost = label_cost(self.labels, channels=channels, onto=decoded, threads=threads)
        if not gpu.decides(self._label_sink()):
            cost = replace(cost, labels=0, fetches=True)
        work = self.head.work_bytes(self.decided, decoded)
        finishing = self.head.finishing_bytes(self.decided, decoded)
        cost += SinkCost(held=work - finishing, at_work=finishing)
        if not native:  # the labels or ids once more, on the native grid
            again = replace(label_cost(self.labels, channels=0, onto=self.onto, threads=1), at_work=0)
            ids = ID_BYTES * math.prod(self.onto.shape) if self.head.of_objects else 0
            cost += replace(again, held=max(again.held, ids))
        if self._completes:  # the layers that were decided, until they lie among the others
            cost += replace(label_cost(self.decided, channels=0, onto=decoded, threads=1), at_work=0)
        return cost

    @property
    def on_disk(self) -> str:
        """What scores that are kept take on disk, as the end of a sentence; empty where none are."""
        channels, names = self.head.channels(self.labels), self.wanted.score_labels
        taken = stored_bytes(self.grid, EVERYWHERE, channels) if self.refinable else 0
        taken += self.groups * self._objects_bytes
        if self.head.activation is not None:
            channels = sum(names is None or label.name in names for label in self.labels)
        taken += stored_bytes(self.grid, self.wanted, channels)
        kept = self.wanted.scores or self.refinable or self._objects_bytes
        return f"; {taken / 1e9:.2f} GB of scores on disk" if kept else ""

    @cached_property
    def _objects_bytes(self) -> int:
        """What a sink that decodes objects keeps on disk of each group's scores, until all are there."""
        sink = self._label_sink()
        return sink.disk_bytes if isinstance(sink, ObjectSink) else 0

    @property
    def refinable(self) -> bool:
        """Whether all logits are kept, to be improved and decided anew: of heads that can do so."""
        able = self.head.activation is not None and self.head.decodes_on == "native"
        return self.wanted.refinable and able

    def _label_sink(self) -> Sink:
        decoded = self.onto if self.head.decodes_on == "native" else self.grid
        return self.head.sink(self.decided, grid=self.grid, axis=self.axis, onto=decoded)

    def predicted(self, slide: Callable[[list[Sink]], tuple[Any, ...]]) -> Prediction:
        """Let `slide` feed fresh sinks, and give what became of them."""
        labels, channels = self.decided, self.slab_channels // self.groups
        sinks: list[Sink] = [self._label_sink()]
        activation = self.head.activation
        if activation is not None and "soft-volume" in self.reductions:
            sinks.append(SoftVolumeSink(labels, grid=self.grid, axis=self.axis, activation=activation))
        if activation is not None and "entropy" in self.reductions:
            sinks.append(EntropySink(grid=self.grid, axis=self.axis, activation=activation))
        if self.wanted.scores:
            sinks.append(
                ScoreSink(
                    labels,
                    grid=self.grid,
                    axis=self.axis,
                    channels=channels,
                    activation=activation,
                    wanted=self.wanted,
                )
            )
        if self.refinable:
            sinks.append(
                ScoreSink(
                    labels,
                    grid=self.grid,
                    axis=self.axis,
                    channels=channels,
                    activation=None,
                    wanted=EVERYWHERE,
                )
            )
        if self.apart:  # the mean's channels come first
            sinks = [ChannelGroup(sink, first=0, count=channels) for sink in sinks]
            sinks += [
                ChannelGroup(self._label_sink(), first=(1 + n) * channels, count=channels)
                for n in range(self.members)
            ]
        return self._gathered(slide(sinks))

    def _gathered(self, found: tuple[Any, ...]) -> Prediction:
        """What the sinks gave, in their order."""
        segmentation, *rest = found
        soft = rest.pop(0) if "soft-volume" in self.reductions else {}
        maps = {"entropy": self._map(rest.pop(0))} if "entropy" in self.reductions else {}
        scores: ScoreStore | None = rest.pop(0) if self.wanted.scores else None
        refinable = self._refinable(rest.pop(0)) if self.refinable else None
        labels = self._native(segmentation)
        gone = len(segmentation.objects) - len(labels.objects)
        notes = [f"objects too small for the image's own grid, left out: {gone}"] if gone else []
        members = tuple(self._native(member) for member in rest)
        if self.wanted.members and not members:
            members = (labels,)
        return Prediction(
            segmentation=labels,
            scores=scores,
            members=members,
            soft_ml=soft,
            maps=maps,
            refinable=refinable,
            used={"notes": notes} if notes else {},
        )

    def _refinable(self, store: ScoreStore) -> Refinable:
        activation = self.head.activation
        assert activation is not None

        def decide(grid: Grid, axis: int, onto: Grid) -> Sink:
            return self.head.sink(self.labels, grid=grid, axis=axis, onto=onto)

        return Refinable(store, activation, decide)

    def _native(self, found: object) -> Segmentation:
        if not isinstance(found, Segmentation):
            raise PluginError(f"head {type(self.head).__name__}: its sink gave {type(found).__name__}")
        native = self._complete(found).onto(self.onto)
        return native if native.grid.same_as(found.grid) else _with_voxels(native)

    def _complete(self, found: Segmentation) -> Segmentation:
        """With all layers that there are, in the type that holds all labels; the rest is empty."""
        if not self._completes:
            return found
        layers, dtype = _storage(self.labels)
        array = np.zeros((layers, *found.grid.shape), dtype)
        array[: len(found.array)] = found.array
        more = layers - len(found.kinds)
        return found.replace(array=array, kinds=(*found.kinds, *("labels",) * more))

    @property
    def _completes(self) -> bool:
        """Whether a sink of the labels that are needed makes another array than one of all labels."""
        return _storage(self.decided) != _storage(self.labels)

    def _map(self, found: object) -> Volume:
        assert isinstance(found, Volume)
        assert np.issubdtype(found.array.dtype, np.floating)
        return found


def _storage(labels: LabelTable) -> tuple[int, np.dtype[Any]]:
    """Layers and type of an array that holds these labels."""
    return labels.layers, np.min_scalar_type(max((label.value for label in labels), default=0))


def _with_voxels(segmentation: Segmentation) -> Segmentation:
    """Without the objects that have no voxel, as small ones on a coarser grid; plane by plane."""
    kept = []
    for number, (layer, kind) in enumerate(zip(segmentation.array, segmentation.kinds, strict=True)):
        if kind == "objects":
            there: set[int] = set()
            for plane in layer:
                there.update(np.unique(plane).tolist())
            things = (t for t in segmentation.objects if segmentation.labels[t.label].layer == number)
            kept += [thing for thing in things if thing.id in there]
    return segmentation.replace(objects=tuple(kept))
