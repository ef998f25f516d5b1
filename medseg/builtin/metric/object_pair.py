"""The single objects of each label, of prediction and reference, and which of them meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.metric.label_pair import LabelPair, label_pairs
from medseg.components import Connectivity, components
from medseg.extent import Box
from medseg.segmentation import Segmentation

__all__ = ["ObjectPair", "matched", "object_pairs"]

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ObjectPair:
    """The objects of one label: their sizes in voxels, and for each pair that meets how many they share.

    `ours[n]` and `theirs[n]` are the places in `found` and `wanted` of the nth pair, `common[n]` the voxels
    that both have.
    """

    label: str
    absent: str
    found: Counts = field(repr=False)
    wanted: Counts = field(repr=False)
    ours: Counts = field(repr=False)
    theirs: Counts = field(repr=False)
    common: Counts = field(repr=False)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair that meets."""
        return self.common / (self.found[self.ours] + self.wanted[self.theirs] - self.common)


def object_pairs(
    prediction: Segmentation, reference: Segmentation, connectivity: Connectivity
) -> Iterator[ObjectPair]:
    """The objects of each label of the reference's table, in its order; both lie on one grid.

    In a layer of objects they are those; of a layer of labels they are connected parts: 6 joins voxels that
    share a face, 18 an edge too, 26 a corner too (4, 8 and 8 neighbours in an image of one slice).
    """
    for pair in label_pairs(prediction, reference):
        ours = _objects(prediction, pair, pair.prediction, connectivity)
        theirs = _objects(reference, pair, pair.reference, connectivity)
        both = (ours > 0) & (theirs > 0)
        count = int(theirs.max(initial=0)) + 1
        meeting, common = np.unique(ours[both] * count + theirs[both], return_counts=True)
        yield ObjectPair(
            pair.label,
            pair.absent,
            found=np.bincount(ours[ours > 0] - 1),
            wanted=np.bincount(theirs[theirs > 0] - 1),
            ours=meeting // count - 1,
            theirs=meeting % count - 1,
            common=common,
        )


def matched(objects: ObjectPair, threshold: float) -> int:
    """How many pairs have at least this IoU, no object in more than one; the most that can be.

    From 0.5 on an object has one such partner at most, but for ties at 0.5 exactly.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    near = objects.iou >= threshold
    if not near.any():
        return 0
    places = (objects.ours[near], objects.theirs[near])
    graph = csr_array((np.ones(near.sum(), np.int8), places), shape=(len(objects.found), len(objects.wanted)))
    return int(np.count_nonzero(maximum_bipartite_matching(graph) >= 0))


def _objects(
    segmentation: Segmentation, pair: LabelPair, mask: NDArray[np.bool_], connectivity: Connectivity
) -> NDArray[np.int64]:
    """The objects of a label as 1, 2, … without gaps, 0 elsewhere, in the pair's crop."""
    if pair.label in segmentation.labels:
        layer = segmentation.labels[pair.label].layer
        if segmentation.kinds[layer] == "objects":
            return _in_order(segmentation.array[layer], pair.box, mask)
    return np.asarray(components(mask, connectivity)[0], np.int64)


def _in_order(layer: NDArray[Any], box: Box, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The ids in a mask, numbered from 1 on."""
    numbers = np.zeros(mask.shape, np.int64)
    numbers[mask] = np.unique(layer[box][mask], return_inverse=True)[1] + 1
    return numbers
