"""Steps after the segmenter: labels on the native grid in, labels out."""

from abc import ABC, abstractmethod

from medseg.segmentation import Segmentation
from medseg.steps.segmenter import check_segmentation
from medseg.steps.step import Step
from medseg.volume import Grid, Volume

__all__ = ["Postprocessor"]


class Postprocessor(Step, ABC):
    """Improves labels by rule, on the native grid; `volume` is the image as it was read."""

    @abstractmethod
    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return a new segmentation on the same grid; both arguments' arrays are read-only."""

    @staticmethod
    def check(returned: object, *, onto: Grid) -> Segmentation:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        return check_segmentation(returned, onto=onto)
