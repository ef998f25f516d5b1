"""The postprocessor `keep-largest`."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.connected_parts import Connectivity, connected_parts
from medseg.builtin.postprocess.repaint import repaint
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume

__all__ = ["KeepLargest"]


class KeepLargest(Postprocessor):
    """Keep the largest connected parts of each label.

    Most organs are one piece; a second piece far away is usually a mistake. nnU-Net chooses this step per
    label where it helps on its training data (Isensee et al., Nature Methods 18, 2021, 203-211). Not for
    labels that come in several pieces, such as lesions, vessels or ribs. What is removed becomes
    background.
    """

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    count: int = Field(default=1, ge=1)
    """How many parts of each label are kept; of equal ones, those whose first voxel has the lowest index."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation without the smaller parts."""
        return repaint(segmentation, self.labels, self._largest)

    def _largest(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The largest parts of a mask."""
        numbers, sizes = connected_parts(mask, self.connectivity)
        if len(sizes) - 1 <= self.count:
            return mask
        kept = np.zeros(len(sizes), bool)
        smallest = np.sort(sizes)[-self.count]
        kept[sizes > smallest] = True
        tied = np.flatnonzero(sizes == smallest)
        kept[_first(numbers, tied, self.count - int(kept.sum()))] = True
        return np.asarray(kept[numbers], bool)


def _first(numbers: NDArray[np.int64], tied: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The `count` of the `tied` parts that begin first when voxels are read along k, then j, then i."""
    if len(tied) == count:
        return tied
    found, where = np.unique(numbers.ravel(), return_index=True)
    begins = where[np.searchsorted(found, tied)]
    return tied[np.argsort(begins)[:count]]
