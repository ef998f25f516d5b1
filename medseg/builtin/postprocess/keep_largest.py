"""The postprocessor `keep-largest`."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.postprocess.connected_parts import Parts
from medseg.builtin.postprocess.keep_parts import keep_parts
from medseg.components import Connectivity
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

    takes_objects: ClassVar[bool] = False

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    count: int = Field(default=1, ge=1)
    """How many parts of each label are kept; of equal ones, those whose first voxel has the lowest index."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation without the smaller parts."""
        return keep_parts(segmentation, self.labels, self.connectivity, self._largest)

    def _largest(self, parts: Parts, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of one label's parts are the largest."""
        if len(numbers) <= self.count:
            return numbers
        sizes = parts.sizes[numbers]
        smallest = np.sort(sizes)[-self.count]
        larger, tied = numbers[sizes > smallest], numbers[sizes == smallest]
        room = self.count - len(larger)
        if len(tied) > room:
            tied = tied[np.argsort(parts.begins[tied])[:room]]
        return np.concatenate([larger, tied])
