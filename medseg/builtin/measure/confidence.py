"""How sure the network is of each label where it has put it."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.builtin.write.native_slabs import native_slabs
from medseg.errors import GeometryError
from medseg.inference.score_store import ScoreStore
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

__all__ = ["Confidence"]

QUANTITIES = ("confidence", "confidence_p5")
SLAB_BYTES = 160 << 20  # of native_slabs: values, places and sums of 2^22 voxels


class Confidence(Measurement):
    """Mean and 5th percentile of a label's own probability inside its mask, from 0 to 1.

    For each label:

    - `confidence`: the mean over the voxels of its final mask. Near 1 where the network hardly doubted;
      small or thin structures have a lower one, since they are mostly boundary, where any network doubts.
    - `confidence_p5`: one voxel in twenty is below it. Low where a part of the mask is a guess while
      the rest is sure.

    Probabilities are interpolated from the network's grid, are those before postprocessing, and count as 0
    outside what was segmented: what a step added, as a filled hole, lowers both. They are kept on disk for
    it.

    This is what the network says of itself. It tells nothing of what was missed, since only voxels in the
    mask are asked; a network may be sure and wrong; and few are calibrated, so that 0.9 does not
    mean that nine in ten such voxels are right. Compare cases of one model by it, and not models. "not given"
    where the segmenter keeps no probabilities, "empty" where the label is nowhere.
    """

    @property
    def wants(self) -> Wanted:
        """Probabilities everywhere."""
        return Wanted(whole_scores=True)

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label, in the order of the label table."""
        store, boxes = prediction.scores, label_boxes(segmentation)
        for label in segmentation.labels:
            box = boxes[label.name]
            if store is None or label.name not in store.channels:
                yield from _rows(label.name, (None, None), "not given")
            elif box is None:
                yield from _rows(label.name, (None, None), "empty")
            else:
                values = _inside(store, label.name, *cut_out(segmentation, label.name, box))
                mean, low = float(values.mean(dtype=np.float64)), float(np.percentile(values, 5))
                yield from _rows(label.name, (mean, low), "")

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """A mask, the label's probabilities twice, and a slab of them."""
        return 9 * int(np.prod(segmentation.grid.shape)) + SLAB_BYTES


def _rows(label: str, values: tuple[float | None, float | None], flag: str) -> Iterator[Measured]:
    for quantity, value in zip(QUANTITIES, values, strict=True):
        yield Measured(label=label, quantity=quantity, value=value, flag=flag)


def _inside(store: ScoreStore, label: str, mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Probabilities `[n]` of a label under its mask on a native grid, read slab by slab along k."""

    def read(box: Grid) -> tuple[NDArray[np.float32], Grid] | None:
        try:
            found = store.read(box, [label])
        except GeometryError:  # the box lies outside what was segmented
            return None
        return np.asarray(found.array[0]), found.grid

    inside = np.empty(np.count_nonzero(mask), np.float32)
    filled = start = 0
    for slab in native_slabs(grid, read):
        part = slab[mask[..., start : start + slab.shape[2]]]
        inside[filled : filled + len(part)] = part
        filled, start = filled + len(part), start + slab.shape[2]
    return inside
