"""Steps after the segmenter: labels on the native grid in, labels out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from medseg.segmentation import Segmentation
from medseg.steps.segmenter import check_segmentation
from medseg.steps.step import Step
from medseg.volume import Grid, Volume

__all__ = ["Postprocessor"]

VOXEL_BYTES, COUNTING_BYTES = 12, 40 << 20


class Postprocessor(Step, ABC):
    """Improves labels by rule, on the native grid; `volume` is the image as it was read."""

    libraries: ClassVar[Mapping[str, int]] = {"scipy.ndimage": 28 << 20}  # with cc3d and edt, which are small

    takes_objects: ClassVar[bool] = True
    """Whether it takes layers of objects. Where not, it is refused behind a head that tells objects apart."""

    @abstractmethod
    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return a new segmentation on the same grid; both arguments' arrays are read-only."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """Memory it takes at most beside its input, told by shapes and types alone, so that a limit is kept.

        A new segmentation, 12 bytes for each voxel of a layer (masks of one label, its numbered parts) and 40
        MiB to count them: enough for connected parts and distances. Override it where a step takes more.
        """
        return segmentation.array.nbytes + VOXEL_BYTES * math.prod(segmentation.grid.shape) + COUNTING_BYTES

    @staticmethod
    def check(returned: object, *, onto: Grid) -> Segmentation:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        return check_segmentation(returned, onto=onto)
