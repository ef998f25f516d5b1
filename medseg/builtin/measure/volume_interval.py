"""How large a label would be if one were more easily, or less easily, sure of it."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from medseg.inference.score_store import ScoreStore
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Volume

__all__ = ["VolumeInterval"]

CHUNK_VOXELS = 1 << 22


class VolumeInterval(Measurement):
    """The volume of each label as an interval: of what is surely it to what may be it.

    `threshold_volume` in mL: of the voxels whose probability is at least one half. Its interval, `low` and
    `high`, is the volume at the probability `sure` and at `may_be`. On the grid that the network sees, before
    postprocessing; scores are kept on disk for it.

    A sweep over thresholds says how steep the network's scores are at the boundary, not how often it is
    right: of a network that is always sure the interval is narrow. `volumes: {members: true}` asks several
    networks instead. "not given" where the segmenter keeps no probabilities.
    """

    may_be: float = Field(default=0.25, gt=0, lt=1)
    """Probability from which on a voxel may be the label's."""

    sure: float = Field(default=0.75, gt=0, lt=1)
    """Probability from which on a voxel surely is."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.may_be <= 0.5 <= self.sure:
            raise ValueError("may_be is at most 0.5, and sure at least 0.5")
        return self

    @property
    def wants(self) -> Wanted:
        """Probabilities everywhere."""
        return Wanted(whole_scores=True)

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield one row for each label."""
        store = prediction.scores
        for label in segmentation.labels:
            if store is None or label.name not in store.channels:
                yield Measured(
                    label=label.name, quantity="threshold_volume", value=None, unit="mL", flag="not given"
                )
                continue
            surely, half, maybe = self._swept(store, label.name)
            yield Measured(
                label=label.name,
                quantity="threshold_volume",
                value=half,
                unit="mL",
                interval=(surely, maybe),
            )

    def _swept(self, store: ScoreStore, label: str) -> tuple[float, float, float]:
        """Volumes in mL at `sure`, one half and `may_be`, read slab by slab."""
        thresholds = (self.sure, 0.5, self.may_be)
        counts = np.zeros(len(thresholds), np.int64)
        i, j, k = store.grid.shape
        step = max(1, CHUNK_VOXELS // (i * j))
        for start in range(0, k, step):
            stop = min(start + step, k)
            read = store.read(store.grid.cropped((0, 0, start), (i, j, stop)), [label])
            first = start - round(float(store.grid.to_index(read.grid.to_world((0, 0, 0)))[2]))
            part = read.array[0, :, :, first : first + stop - start]
            counts += [np.count_nonzero(part >= threshold) for threshold in thresholds]
        surely, half, maybe = (float(count * store.grid.voxel_ml) for count in counts)
        return surely, half, maybe

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, and a slab of scores."""
        return super().work_bytes(volume, segmentation) + 12 * CHUNK_VOXELS
