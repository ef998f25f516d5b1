"""The postprocessor `label-crf`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.extent import margin_voxels
from medseg.inference.refining import Part
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume
from medseg_crf.field import FieldParameters, improved, margin_mm, work_bytes

__all__ = ["LabelCrf"]

MOST_VOXELS = 1 << 24  # in a part with its margin, divided by the number of labels


class LabelCrf(FieldParameters, Postprocessor):
    """Move the edges of labels onto those of the image, where there are no scores to refine.

    The same field as the refiner `dense-crf`; each voxel's own label, or none, has the stated `confidence`.
    All labels of a layer compete; layers of objects stay as they are. Small things can vanish where the image
    does not speak for them.
    """

    confidence: float = Field(default=0.7, gt=0.5, lt=1)
    """Probability that a voxel's label is right; the others share the rest."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """The labels that the field makes likely, in a box around those there are."""
        array = segmentation.array.copy()
        for layer, kind in enumerate(segmentation.kinds):
            values = [label.value for label in segmentation.labels if label.layer == layer]
            if kind == "labels":
                self._improve(array[layer], (0, *values), volume)
        return segmentation.replace(array=array)

    def _improve(self, layer: NDArray[Any], values: Sequence[int], volume: Volume) -> None:
        """Write the field's labels into a layer, part by part."""
        grid, margin = volume.grid, margin_voxels(volume.grid, margin_mm(self))
        found = Part.around(layer, grid)
        if found is None:
            return
        box, before = found.grown(margin, grid), layer.copy()
        for part in box.slabs(box.longest, self._thickness(box, margin, len(values))):
            around = part.grown(margin, grid)
            i, j, k = around.within(Part((0, 0, 0), grid.shape))
            labels = before[i, j, k]
            better = self._decided(labels, values, volume.crop(around.low, around.high))
            i, j, k = part.within(Part((0, 0, 0), grid.shape))
            x, y, z = part.within(around)
            layer[i, j, k] = better[x, y, z]

    def _thickness(self, box: Part, margin: Sequence[int], classes: int) -> int:
        """Slices of a part, so that it is not too large with its margin."""
        across = [n + 2 * m for n, m in zip(box.shape, margin, strict=True)]
        slices = 2 * MOST_VOXELS // classes * across[box.longest] // math.prod(across)
        return max(1, slices - 2 * margin[box.longest])

    def _decided(self, labels: NDArray[Any], values: Sequence[int], volume: Volume) -> NDArray[Any]:
        others = (1 - self.confidence) / (len(values) - 1)
        own = math.log(self.confidence) - math.log(others)
        logits = np.stack([np.where(labels == value, np.float32(own), np.float32(0)) for value in values])
        better = improved(self, logits, volume, exclusive=True, step="label-crf")
        winner: NDArray[Any] = np.array(values, labels.dtype)[better.argmax(axis=0)]
        return winner

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """The labels twice more, where they are, and the field of one part."""
        classes = 1 + max((len(segmentation.labels), 1))
        voxels = min(math.prod(segmentation.grid.shape), 4 * MOST_VOXELS // classes)
        copies = 2 * segmentation.array.nbytes + math.prod(segmentation.grid.shape)
        return copies + work_bytes(self, classes, segmentation.grid, voxels) + 4 * classes * voxels
