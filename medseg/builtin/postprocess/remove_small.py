"""The postprocessor `remove-small`."""

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

__all__ = ["RemoveSmall"]


class RemoveSmall(Postprocessor):
    """Remove connected parts smaller than a volume in mL.

    For structures in several pieces, where specks below what a reader would report are noise. The limit is a
    volume, so it means the same at every voxel size: a sphere of 5 mm diameter has 0.065 mL, one of 10 mm
    0.52 mL. What is removed becomes background.
    """

    takes_objects: ClassVar[bool] = False

    below_ml: float = Field(gt=0)
    """Parts with less than this volume are removed, in mL; a part of exactly this volume is kept."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation without the small parts."""
        # a millionth is rounding of the affine: a part of exactly the limit must not fall to it
        least = self.below_ml / segmentation.grid.voxel_ml * (1 - 1e-6)

        def large(parts: Parts, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
            return numbers[parts.sizes[numbers] >= least]

        return keep_parts(segmentation, self.labels, self.connectivity, large)
