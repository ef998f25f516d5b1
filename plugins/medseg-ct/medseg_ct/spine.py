"""The vertebral column as the landmark that tells back from front and left from right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import Mask, Spacing, depth

__all__ = ["THICK_BONE_MM", "Spine", "find_spine"]

THICK_BONE_MM = 8.0  # half-thickness: vertebral bodies, sacrum, hips and long bones reach it, ribs do not
MIDLINE_MM = 60.0  # the spine is looked for so far to either side of the middle of the body
STEP_MM = 20.0  # between neighbouring slices its centre moves less
LEAST_SHARE = 0.1  # of the slices must show it


@dataclass(frozen=True)
class Spine:
    """Centre of the vertebral bodies in each axial slice: `centres[k]` in blocks along i and j."""

    centres: NDArray[np.float64]
    shape: tuple[int, int, int]
    spacing: Spacing

    @property
    def middle(self) -> float:
        """The patient's midline in blocks along i."""
        return float(np.median(self.centres[:, 0]))

    def across(self) -> NDArray[np.float64]:
        """Distance in mm from the midline to either side, `[i, 1, k]`."""
        i = np.arange(self.shape[0])[:, None, None]
        return np.asarray(np.abs(i - self.centres[:, 0]) * self.spacing[0])

    def forward(self) -> NDArray[np.float64]:
        """Distance in mm in front of the vertebral body's centre, negative behind, `[1, j, k]`."""
        j = np.arange(self.shape[1])[None, :, None]
        return np.asarray((j - self.centres[:, 1]) * self.spacing[1])


def find_spine(body: Mask, bone: Mask, spacing: Spacing) -> Spine | None:
    """The spine from thick bone near the middle of the body; None where too little of it is seen.

    Followed up and down from the slice that shows most of it, so that pubic bone and sternum, which also
    lie near the midline, are not taken for it. Where it is out of sight its last place holds.
    """
    columns = np.nonzero(body.any(axis=(1, 2)))[0]
    if not len(columns):
        return None
    thick = depth(bone, spacing) > THICK_BONE_MM
    i = np.arange(body.shape[0])
    near = np.abs(i - (columns.min() + columns.max()) / 2) * spacing[0] < MIDLINE_MM
    thick &= near[:, None, None]
    area = thick.sum(axis=(0, 1))
    if (area > 0).sum() < max(2, LEAST_SHARE * len(area)):
        return None
    start = int(area.argmax())
    centres = np.zeros((len(area), 2))
    centres[start] = np.median(np.argwhere(thick[:, :, start]), axis=0)
    for step in (1, -1):
        for k in range(start + step, len(area) if step > 0 else -1, step):
            centres[k] = _followed(thick[:, :, k], centres[k - step], spacing)
    return Spine(centres, (body.shape[0], body.shape[1], body.shape[2]), spacing)


def _followed(thick: Mask, last: NDArray[np.float64], spacing: Spacing) -> NDArray[np.float64]:
    """The centre in the next slice: of thick bone within `STEP_MM` of the last centre, else that one."""
    points = np.argwhere(thick)
    if len(points):
        points = points[np.linalg.norm((points - last) * spacing[:2], axis=1) < STEP_MM]
    return np.asarray(points.mean(axis=0)) if len(points) else last
