"""The head `embedding`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.inference import Decoded
from medseg.segmentation import LabelTable, Segmentation
from medseg_instances.coloured_centres import coloured_centres
from medseg_instances.instance_head import FLOAT, InstanceHead, softmax
from medseg_instances.mean_shift import modes
from medseg_instances.parts import anchors_of, described, grown

__all__ = ["Embedding"]

AXES = 3
CELL = 1.5  # of the embedding's units: the width of cells in dimensions that are no place
FARTHEST = 8  # cells to each side of 0 that are told apart there
CLUSTERING = 16  # numbers a voxel beside what all heads take, where all are in objects: its cell
BEYOND = 4  # times the size of objects: voxels point no farther than that


class Embedding(InstanceHead):
    """Objects as clusters: the network gives each voxel a point, and those of an object lie close together.

    De Brabandere et al., Semantic instance segmentation with a discriminative loss function, 2017
    (arXiv:1708.02551); clusters are found by mean shift. What a network can see does not say which of two
    like objects it looks at, so the voxel's own place is added to the first dimensions, one for each axis of
    the image (Novotny et al., Semi-convolutional operators for instance segmentation, ECCV 2018). Objects far
    from each other are then apart by themselves. Where windows overlap points are averaged: as places they
    mean the same in all windows; in the dimensions behind, windows need not agree about an object that both
    see in part, and there it may come apart. Right for objects in several pieces or within others too.
    """

    libraries: ClassVar[Mapping[str, int]] = {**InstanceHead.libraries, "scipy.spatial": 11 << 20}
    default_loss: ClassVar[str] = "medseg-instances/discriminative"
    lengths_in_voxels: ClassVar[bool] = True

    dimensions: int = Field(default=4, ge=4, le=6)
    """How many numbers a point has: one for each of three axes, and at least one that is no place."""

    unit: float = Field(default=2.0, gt=0, le=64)
    """How many voxels apart two voxels are whose points, by their places alone, are 1 apart."""

    bandwidth: float = Field(default=1.5, gt=0, le=8)
    """Clusters whose peaks are closer than this along every axis are one; in units."""

    def fields(self, labels: LabelTable) -> int:
        """The point."""
        return self.dimensions

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """Background and labels, 1 or 0; the object's number, from 1, in the first channel of the point.

        Which points objects have is the network's choice.
        """
        objects = self.objects(segmentation)
        _, number = np.unique(np.concatenate([[0], objects.ids.ravel()]), return_inverse=True)
        point = np.zeros((self.dimensions, *objects.ids.shape), np.float32)
        point[0] = number[1:].reshape(objects.ids.shape)
        return np.concatenate([objects.one_hot(len(segmentation.labels)), point])

    def logits(self, target: NDArray[np.float32]) -> NDArray[np.float32]:
        """Voxels point to the object's middle; where others are near, the last dimension tells them apart."""
        first = len(target) - self.dimensions
        ids = target[first].astype(np.int64)
        point = np.zeros_like(target[first:])
        centres, colours = coloured_centres(ids, apart=4 * self.bandwidth * self.unit)
        inside = ids > 0
        of = ids[inside] - 1
        for axis, places in enumerate(np.nonzero(inside)):
            point[axis][inside] = (centres[of, axis] - places) / self.unit
        point[-1][inside] = 4 * CELL * colours[of]
        return np.concatenate([super().logits(target[:first]), point])

    def decoding_bytes(self, labels: LabelTable) -> int:
        """Those of cells too."""
        return super().decoding_bytes(labels) + FLOAT * CLUSTERING

    def unmirror(self, logits: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
        """Points are on the other side along mirrored axes."""
        found = super().unmirror(logits, axes).copy()
        for axis in axes:
            if logits.shape[1 + axis] > 1:  # else it is no place
                found[len(found) - self.dimensions + axis] *= -1
        return found

    def decode(self, logits: NDArray[np.float32]) -> Decoded:
        """Clusters, and what is left filled from around."""
        first = len(logits) - self.dimensions
        shares, points = softmax(logits[:first]), logits[first:]
        inside = shares[0] < 0.5
        which = self._clusters(points, inside)
        kept = np.bincount(which, minlength=1) >= self.least_voxels
        ids = np.zeros(inside.shape, np.int32)
        ids[inside] = np.where(kept, np.cumsum(kept), 0)[which]
        anchors = anchors_of(ids)
        return described(grown(ids, inside), anchors, shares[1:], least_voxels=self.least_voxels)

    def _clusters(self, points: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Which cluster each voxel `inside` is of. Cells are voxels along the axes, and count from them."""
        most = BEYOND * self.size
        cells, sizes, reach = [], [], []
        for axis, places in enumerate(np.nonzero(inside)):
            if inside.shape[axis] > 1:
                off = np.rint(points[axis][inside] * self.unit).clip(-most, most).astype(np.int64)
                cells.append(places + off + most)
                sizes.append(inside.shape[axis] + 2 * most)
                reach.append(max(1, round(self.bandwidth * self.unit)))
        free = [axis for axis in range(self.dimensions) if axis >= AXES or inside.shape[axis] == 1]
        for axis in free:
            cell = np.rint(points[axis][inside] / CELL).clip(-FARTHEST, FARTHEST)
            cells.append(cell.astype(np.int64) + FARTHEST)
            sizes.append(2 * FARTHEST + 1)
            reach.append(1)
        return modes(cells, sizes, reach=reach)
