"""The head `border-core`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.inference import Decoded
from medseg.segmentation import LabelTable, Segmentation
from medseg_instances.instance_head import InstanceHead, softmax
from medseg_instances.parts import anchors_of, described, grown, seeded

__all__ = ["BorderCore"]


class BorderCore(InstanceHead):
    """Objects as cores within borders: what touches is apart where its cores are.

    The network tells background, core and border of each label (a trimap, as in the 2018 Data Science Bowl).
    Connected cores are objects, which grow into the borders about them. Quick, and right where objects are
    thicker than two borders.
    """

    default_loss: ClassVar[str] = "medseg-instances/trimap"
    lengths_in_voxels: ClassVar[bool] = True

    border: float = Field(default=2.0, gt=0, le=32)
    """Width of the border, in the network's finest voxels; thin objects keep a core of half their depth.
    Where objects meet it is a voxel at least."""

    def fields(self, labels: LabelTable) -> int:
        """Each label has a core and a border."""
        return len(labels)

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """Background, the labels' cores, the labels' borders: 1 for one of them, 0 for the others."""
        objects, count = self.objects(segmentation), len(segmentation.labels)
        depth = objects.depth()
        core = depth > np.minimum(self.border, objects.most_of_each(depth) / 2)
        alone = core & ~objects.touching()  # thick slices are deeper than the border also where objects meet
        kept = objects.most_of_each(alone.astype(np.float32)) > 0
        core = np.where(kept, alone, core)
        core |= objects.ids == 0  # of stuff, which has no border
        whole = objects.one_hot(count)
        return np.concatenate([whole[:1], whole[1:] * core, whole[1:] * ~core]).astype(np.float32)

    def of_label(self, place: int, labels: int) -> tuple[int, ...]:
        """Core and border."""
        return 1 + place, 1 + labels + place

    def decode(self, logits: NDArray[np.float32]) -> Decoded:
        """Cores, grown."""
        shares = softmax(logits)
        count = len(shares) // 2
        cores = shares[1 : 1 + count].sum(axis=0)
        inside = shares[0] < 0.5
        seeds = seeded(cores > 0.5, inside)
        whole = shares[1 : 1 + count] + shares[1 + count :]
        return described(grown(seeds, inside), anchors_of(seeds), whole, least_voxels=self.least_voxels)
