"""Segmentation by a range of intensities."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from medseg.builtin.otsu import otsu_threshold
from medseg.errors import InputError
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Predictor, Segmenter
from medseg.volume import Grid, Volume

__all__ = ["Threshold"]

LABELS = LabelTable((Label(1, "foreground", colour="#e0a33c"),))


class Threshold(Segmenter):
    """Label what lies in a range of intensities; without a range, what Otsu's threshold separates.

    The oldest method there is, right where intensities mean something: bone in CT, bright cells on a dark
    ground. Otsu's threshold is the one that maximises the variance between both sides (IEEE Trans. Syst. Man
    Cybern. 9, 1979, 62-66). The label is called "foreground" unless the pipeline file's `labels:` names 1.
    """

    above: float | None = None
    """Lowest intensity of the label; without it and `below`, Otsu's threshold."""

    below: float | None = None
    """Highest intensity of the label; nothing is too bright where this is left out."""

    channel: int = 0
    """Channel that is looked at, counted from 0."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.above is not None and self.below is not None and self.above > self.below:
            raise ValueError(f"above ({self.above:g}) is more than below ({self.below:g})")
        return self

    def labels(self) -> LabelTable:
        """One label, of value 1."""
        return LABELS

    def open(self, resources: Resources) -> AbstractContextManager[Predictor]:
        """Nothing to load."""
        return self._opened()

    @contextmanager
    def _opened(self) -> Iterator[Predictor]:
        yield _Thresholding(self)


class _Thresholding(Predictor):
    """Compares; owns nothing."""

    def __init__(self, threshold: Threshold) -> None:
        self.threshold = threshold

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """A mask beside the image, and one on the native grid."""
        return Plan(device="cpu", peak_bytes=int(3 * np.prod(grid.shape) + 2 * np.prod(onto.shape)))

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Label the voxels in range, and put them onto the native grid."""
        if not 0 <= self.threshold.channel < len(volume.channels):
            raise InputError(
                f"the image has {len(volume.channels)} channels, and threshold looks at number "
                f"{self.threshold.channel}, counted from 0"
            )
        image = volume.array[self.threshold.channel]
        low, high = self.threshold.above, self.threshold.below
        used: Mapping[str, Any] = {"device": "cpu", "above": low, "below": high}
        if low is None and high is None:
            low = otsu_threshold(image)
            used = {**used, "above": low}
        mask = np.ones(image.shape, bool)
        if low is not None:
            mask &= image > low if self.threshold.above is None else image >= low
        if high is not None:
            mask &= image <= high
        found = Segmentation.from_masks({"foreground": mask}, volume.grid, LABELS)
        return Prediction(segmentation=found.onto(onto), used=used)
