"""A measurement that takes more memory than it says."""

from collections.abc import Iterable

import numpy as np

from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Volume


class Hungry(Measurement):
    """Take 200 MiB and say that it takes nothing."""

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        return 0

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        np.ones(200 << 20, np.uint8)
        return ()
