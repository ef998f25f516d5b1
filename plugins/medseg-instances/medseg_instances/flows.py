"""The head `flows`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.inference import Decoded
from medseg.segmentation import LabelTable, Segmentation
from medseg_instances.flow_target import flows_of
from medseg_instances.instance_head import FLOAT, InstanceHead, softmax
from medseg_instances.parts import described, grown
from medseg_instances.tracking import clustered, tracked

if TYPE_CHECKING:
    import torch

__all__ = ["Flows"]

AXES = 3
FOLLOWING = 24  # numbers a voxel beside what all heads take, where all are in objects: where it is led
CHECKING = 64  # for flows made anew: its neighbours, and how heat spreads to them


class Flows(InstanceHead):
    """Objects as basins: at each voxel the network tells the way to the centre of its object.

    Voxels follow the ways, and those that end at one place are one object (Stringer et al., Cellpose, Nature
    Methods 18, 2021, 100-106). Right for objects of any shape that are in one piece, long and bent ones too.
    Ways are in voxels, along i, j and k; in pictures there is none along k, and nothing is asked there. An
    object that a patch cuts has its centre in what the patch shows of it. Where windows overlap, ways are
    averaged: where windows disagree, ways are shorter, and lead to the same places more slowly.
    """

    default_loss: ClassVar[str] = "medseg-instances/flow"

    reach: int = Field(default=2, ge=1, le=16)
    """Voxels that end within so many voxels of each other are of one object. Larger where objects fall into
    pieces, smaller where small ones are joined."""

    most_error: float | None = Field(default=None, gt=0, le=4)
    """Objects are left out whose flows are further than this from those that an object of that shape has: the
    mean of the squared distance between unit steps, 0 where they are the same and 4 where all are opposite.
    Cellpose's is 0.4. Not looked at where it is null, which is quicker."""

    def fields(self, labels: LabelTable) -> int:
        """The way along i, j and k."""
        return AXES

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """Background and labels, 1 or 0, and steps of length 1."""
        objects = self.objects(segmentation)
        return np.concatenate([objects.one_hot(len(segmentation.labels)), flows_of(objects.ids)])

    def logits(self, target: NDArray[np.float32]) -> NDArray[np.float32]:
        """The flows stay as they are."""
        return np.concatenate([super().logits(target[:-AXES]), target[-AXES:]])

    def at_scale(self, target: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        """Flows are turned where a voxel becomes longer along one axis than along another."""
        import torch
        from torch.nn.functional import normalize

        coarse = super().at_scale(target, size)
        fields, flows = coarse[:, :-AXES], coarse[:, -AXES:].clone()
        for axis, (now, before) in enumerate(zip(size, target.shape[2:], strict=True)):
            flows[:, axis] *= now / before
        return torch.cat([fields, normalize(flows, dim=1)], 1)

    def unmirror(self, logits: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
        """Ways along mirrored axes lead the other way."""
        found = super().unmirror(logits, axes).copy()
        for axis in axes:
            found[len(found) - AXES + axis] *= -1
        return found

    def decoding_bytes(self, labels: LabelTable) -> int:
        """Those of ways too, and of flows made anew."""
        more = FOLLOWING if self.most_error is None else CHECKING
        return super().decoding_bytes(labels) + FLOAT * more

    def decode(self, logits: NDArray[np.float32]) -> Decoded:
        """Follow the flows, and fill what leads nowhere from around."""
        shares, flows = softmax(logits[:-AXES]), logits[-AXES:]
        inside = shares[0] < 0.5
        places, ends = tracked(flows, inside)
        which, sinks = clustered(ends, inside.shape, reach=self.reach)
        number = _numbered(np.bincount(which, minlength=len(sinks)) >= self.least_voxels)
        ids = np.zeros(inside.shape, np.int32)
        ids.reshape(-1)[places] = number[which]
        ids = grown(ids, inside)
        anchors = np.stack(np.unravel_index(sinks[number > 0], inside.shape), axis=1).astype(np.int64)
        found = described(ids, anchors, shares[1:], least_voxels=self.least_voxels)
        return found if self.most_error is None else _agreeing(found, flows, self.most_error)


def _numbered(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Numbers from 1 for what is kept, 0 for the rest."""
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)


def _agreeing(found: Decoded, flows: NDArray[np.float32], most: float) -> Decoded:
    """The objects whose flows are about as those that objects of their shapes have."""
    there = np.flatnonzero(found.ids)
    off = flows.reshape(AXES, -1)[:, there] - flows_of(found.ids).reshape(AXES, -1)[:, there]
    if found.ids.shape[2] == 1:
        off = off[:2]
    of = found.ids.reshape(-1)[there] - 1
    count = len(found.anchors)
    error = np.bincount(of, np.square(off).sum(axis=0), minlength=count)
    kept = error <= most * np.bincount(of, minlength=count)
    number = np.concatenate([np.zeros(1, np.int32), _numbered(kept)])
    return Decoded(number[found.ids], found.anchors[kept], found.labels[kept], found.scores[kept])
