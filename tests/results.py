"""Results of cases, as writers get them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medseg.prediction import Measured, Prediction, Result
from medseg.segmentation import Segmentation
from medseg.volume import Source, Volume


def result_of(
    segmentation: Segmentation,
    measurements: Sequence[Measured] = (),
    *,
    volume: Volume | None = None,
    source: Source | None = None,
    case: str = "case-01",
    **found: Any,
) -> Result:
    """That of a volume, of zeros from `source` if left out; `found` is what else the segmenter gave."""
    empty = np.zeros((1, *segmentation.grid.shape), np.int16)
    return Result(
        case_id=case,
        volume=volume or Volume(empty, segmentation.grid, source=source),
        prediction=Prediction(segmentation=segmentation, **found),
        segmentation=segmentation,
        measurements=tuple(measurements),
        provenance={},
    )
