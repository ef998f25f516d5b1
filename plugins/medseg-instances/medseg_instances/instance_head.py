"""What the heads of this package have in common: objects in one layer, decoded on the network's voxels."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from medseg.errors import PipelineError
from medseg.inference import Decoded, ObjectSink, decoding_bytes, object_bytes, on_grid_bytes
from medseg.prediction import Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head
from medseg.volume import Grid
from medseg_instances.distance import distance, finest

__all__ = ["InstanceHead", "Objects", "softmax"]

Floats = NDArray[np.float32]
FLOAT = 4  # bytes
NEVER = np.float32(-1e4)  # as a logit
TINY = np.float32(1e-6)


class Objects:
    """The objects of a reference: `ids[i, j, k]`, 0 where there is none, and which label each voxel has.

    `labels[i, j, k]` is the place of the label in the table, counted from 1; 0 where there is none. What is
    of a label that is `stuff` has its label, and no id.
    """

    def __init__(self, segmentation: Segmentation, stuff: Collection[str] = ()) -> None:
        self.spacing = segmentation.grid.spacing
        place = {label.value: number for number, label in enumerate(segmentation.labels, start=1)}
        table = np.array([place.get(value, 0) for value in range(max(place) + 1)], np.uint16)
        self.labels: NDArray[np.uint16] = table[segmentation.by_label().array[0]]
        apart = [number for number, label in enumerate(segmentation.labels, start=1) if label.name in stuff]
        ids = segmentation.array[0]
        self.ids = np.where(np.isin(self.labels, apart), 0, ids) if apart else ids

    def depth(self) -> Floats:
        """How deep each voxel lies in its object: distance to the nearest voxel outside, 0 outside.

        In the side of the finest voxel. What the image ends at is no outside.
        """
        found = distance(self.ids, self.spacing)
        most = float(sum(self.ids.shape))  # where an object fills everything there is no outside
        return np.asarray(np.minimum(np.nan_to_num(found, posinf=most), most), np.float32)

    def most_of_each(self, values: Floats) -> Floats:
        """At each voxel the largest value in its object; 0 outside."""
        flat = self.ids.ravel()
        _, number = np.unique(flat, return_inverse=True)
        most = np.zeros(int(number.max(initial=0)) + 1, np.float32)
        np.maximum.at(most, number, values.ravel())
        found = most[number].reshape(values.shape)
        return np.where(self.ids > 0, found, np.float32(0))

    def relative_depth(self) -> Floats:
        """The depth as a part of the largest in the voxel's object: above 0 up to 1, 0 outside."""
        depth = self.depth()
        return np.asarray(depth / np.maximum(self.most_of_each(depth), TINY), np.float32)

    def closeness(self, width: float, known: NDArray[np.bool_] | None = None) -> Floats:
        """How near two objects are where a voxel lies: nearly 1 where they meet, 0 far from one of them.

        exp(-(d1 + d2)^2 / (2 width^2)) of the distances to the nearest object and the next one, both in the
        side of the finest voxel, as the width is (Ronneberger et al., U-Net, MICCAI 2015, equation 2).
        Distances are between the middles of voxels, so that of objects that meet they add up to a voxel.
        Beyond three widths it is 0. What is not `known` is of no object.
        """
        from scipy.ndimage import find_objects

        there = self.ids if known is None else np.where(known, self.ids, 0)
        numbers, ids = np.unique(there, return_inverse=True)
        ids = ids.reshape(self.ids.shape).astype(np.uint32) + (numbers[0] != 0)
        least = finest(self.spacing, ids.shape)
        reach = [math.ceil(3 * width * least / side) for side in self.spacing]
        nearest = np.full((2, *ids.shape), np.inf, np.float32)
        for number, box in enumerate(find_objects(ids), start=1):
            about = tuple(slice(max(a.start - n, 0), a.stop + n) for a, n in zip(box, reach, strict=True))
            away = distance(ids[about] != number, self.spacing)
            first, second = nearest[0][about], nearest[1][about]
            np.minimum(second, np.maximum(first, away), out=second)
            np.minimum(first, away, out=first)
        both = nearest.sum(axis=0)
        found = np.exp(-0.5 * (both / width) ** 2)
        return np.where(both <= 3 * width, found, np.float32(0)).astype(np.float32)

    def touching(self) -> NDArray[np.bool_]:
        """The voxels of objects that share a face with a voxel of another object."""
        found = np.zeros(self.ids.shape, np.bool_)
        for axis in range(self.ids.ndim):
            ids, meets = np.moveaxis(self.ids, axis, 0), np.moveaxis(found, axis, 0)
            apart = (ids[1:] != ids[:-1]) & (ids[1:] > 0) & (ids[:-1] > 0)
            meets[1:] |= apart
            meets[:-1] |= apart
        return found

    def reaching(self, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The voxels of objects that lie in a region or touch it."""
        from scipy.ndimage import binary_dilation

        reached = np.unique(self.ids[binary_dilation(region, np.ones((3, 3, 3)))])
        return np.asarray(np.isin(self.ids, reached[reached > 0]))

    def one_hot(self, count: int) -> Floats:
        """`[1 + count, i, j, k]`: the background, and each label."""
        channels: Floats = (self.labels == np.arange(count + 1).reshape(-1, 1, 1, 1)).astype(np.float32)
        return channels


class InstanceHead(Head):
    """Tells the objects of a label apart; scores are in the network's own voxels, and so are objects.

    Channels begin with the background's and the labels' logits, which exclude each other.
    """

    libraries: ClassVar[Mapping[str, int]] = {"scipy.ndimage": 28 << 20, "cc3d": 4 << 20}
    label_fields: ClassVar[tuple[str, ...]] = ("stuff",)
    of_objects: ClassVar[bool] = True
    decodes_on: ClassVar[Literal["native", "model"]] = "model"

    size: int = Field(default=64, ge=4, le=1024)
    """About how large objects are, in the network's voxels. Large images are decoded in blocks that overlap
    by so much and what a head needs beside; objects that are larger are found whole too, only slower."""

    least_voxels: int = Field(default=4, ge=1)
    """Objects with fewer voxels are left out."""

    stuff: tuple[str, ...] = ()
    """Labels whose voxels are not told apart, as tissue beside nuclei: each is one object (a panoptic
    segmentation)."""

    _spacing: tuple[float, ...] = PrivateAttr((1.0, 1.0, 1.0))  # of the voxels that are decoded

    @property
    def margin(self) -> int:
        """How far blocks overlap, in voxels: what a voxel's answer may depend on beside its object."""
        return self.size

    @abstractmethod
    def fields(self, labels: LabelTable) -> int:
        """How many channels there are beside the background and the labels."""

    @abstractmethod
    def decode(self, logits: Floats) -> Decoded:
        """The objects in scores `[C, i, j, k]`; stuff looks like background in them."""

    def objects(self, segmentation: Segmentation) -> Objects:
        """Those of a reference."""
        return Objects(segmentation, self.stuff)

    def of_label(self, place: int, labels: int) -> tuple[int, ...]:
        """The channels that say that a voxel is of the label at this place, counted from 0, of so many."""
        return (1 + place,)

    def channels(self, labels: LabelTable) -> int:
        """The background, each label, and the fields; refuses labels that may overlap."""
        apart = next((label for label in labels if label.layer > 0), None)
        if apart is not None:
            raise PipelineError(
                f"an object is of one label, and {apart.name!r} is in layer {apart.layer}; leave layer: out"
            )
        return 1 + len(labels) + self.fields(labels)

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        """Decodes block by block, with lengths as the grid's voxels are."""
        bound = self.model_copy()
        bound._spacing = grid.spacing
        return ObjectSink(
            labels,
            grid=grid,
            axis=axis,
            channels=self.channels(labels),
            decode=partial(bound._decoded, labels) if self.stuff else bound.decode,
            margin=self.margin,
            decoding=self.decoding_bytes(labels),
        )

    def _decoded(self, labels: LabelTable, logits: Floats) -> Decoded:
        """Things, for which all stuff is background, and which stuff there is beside them."""
        places = [place for place, label in enumerate(labels) if label.name in self.stuff]
        own = [np.logaddexp.reduce(logits[list(self.of_label(place, len(labels)))]) for place in places]
        beside = np.stack([logits[0], *own])
        things = logits.copy()
        things[0] = np.logaddexp.reduce(beside)
        for place in places:
            things[list(self.of_label(place, len(labels)))] = NEVER
        decoded = self.decode(things)
        number = np.array([0, *(place + 1 for place in places)], np.uint8)
        stuff = np.where(decoded.ids > 0, 0, number[beside.argmax(axis=0)])
        return replace(decoded, stuff=stuff.astype(np.uint8))

    def work_bytes(self, labels: LabelTable, grid: Grid) -> int:
        """Ids, and a block."""
        return object_bytes(
            grid, self.channels(labels), margin=self.margin, decoding=self.decoding_bytes(labels)
        )

    def finishing_bytes(self, labels: LabelTable, grid: Grid) -> int:
        """All but ids: a block."""
        return self.work_bytes(labels, grid) - on_grid_bytes(grid)

    def decoding_bytes(self, labels: LabelTable) -> int:
        """What decoding takes a voxel, beside its scores; blocks are as large as they may be with that.

        Where there is stuff, scores are copied, and those of all stuff are compared.
        """
        channels, count = self.channels(labels), len(self.stuff)
        return decoding_bytes(channels) + (FLOAT * (channels + 2 * count + 1) if count else 0)


def softmax(logits: Floats) -> Floats:
    """Shares of channels `[C, i, j, k]`."""
    shares = np.exp(logits - logits.max(axis=0))
    shares /= shares.sum(axis=0)
    return np.asarray(shares, np.float32)
