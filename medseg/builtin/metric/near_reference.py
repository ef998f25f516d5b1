"""The probabilities of a label where they are not easy: in a box around its reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import crop, label_boxes
from medseg.extent import Box, margin_voxels
from medseg.prediction import Scores
from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = ["ABSENT", "Near", "near_reference"]

ABSENT = "absent from reference"


@dataclass(frozen=True, eq=False)
class Near:
    """Probabilities and truth `[i, j, k]` of a label in a region; `flag` where the reference has none."""

    probabilities: NDArray[Any] = field(repr=False)
    true: NDArray[np.bool_] = field(repr=False)
    flag: str


def near_reference(
    scores: Scores, reference: Segmentation, label: str, *, margin_mm: float | None, what: str
) -> Near | None:
    """What lies in the box around a label of the reference and a margin; None where it has no voxel.

    A margin of None means the whole image, which is always there. Raises GeometryError, on behalf of `what`,
    for a margin in an image without a scale.
    """
    grid = reference.grid
    if margin_mm is not None:
        grid.require_mm(f"the margin of {what}")
    found = label_boxes(reference)[label]
    flag = "" if found else ABSENT
    if margin_mm is None:
        box: Box = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    elif found is None:
        return None
    else:
        box = _grown(found, margin_mm, grid)
    return Near(scores.array[0][box], crop(reference, box).mask(label), flag)


def _grown(box: Box, margin_mm: float, grid: Grid) -> Box:
    """The box with a margin on each side, within the grid."""
    i, j, k = (
        slice(max(0, side.start - more), min(size, side.stop + more))
        for side, more, size in zip(box, margin_voxels(grid, margin_mm), grid.shape, strict=True)
    )
    return i, j, k
