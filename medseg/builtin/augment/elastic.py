"""The augmentation `elastic`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from medseg.builtin.augment.span import Lengths
from medseg.steps import SpatialAugmentation

if TYPE_CHECKING:
    import torch

__all__ = ["STEEPEST", "Elastic"]

WAVES = 6  # enough to look irregular; each costs time, and takes its part of what slope is allowed
STEEPEST = 0.5  # of displacements, in mm per mm; from 1 on, two points could meet


class Elastic(SpatialAugmentation):
    """Deform the patch smoothly, as tissue is shifted, squeezed and stretched.

    Displacements are a sum of sine waves of random directions, lengths and phases. Where each point goes is
    a closed form in mm: it depends neither on voxels nor on the size of the patch. Nothing folds: the slopes
    of all waves together stay below 0.5, so that two points never come closer than half their distance, and
    larger displacements are made as small as that takes. For waves of 80 to 240 mm it begins at about 3.5 mm.
    """

    displacement_mm: float = Field(default=3.0, ge=0, le=1000)
    """Size of displacements: the root of their mean square is drawn evenly from 0 to this for each sample."""

    wavelength_mm: Lengths = (80.0, 240.0)
    """Shortest and longest wave; drawn on a logarithmic scale. Longer waves are higher, to equal slopes."""

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Add to each point the displacement at its place."""
        dims = len(points)
        size = rng.uniform(0, self.displacement_mm)
        shortest, longest = np.log(self.wavelength_mm)
        lengths = np.exp(rng.uniform(shortest, longest, WAVES))
        phases = rng.uniform(0, 2 * np.pi, WAVES)
        along, towards = (_directions(dims, rng) for _ in range(2))
        # A sine's mean square is one half, and waves of different directions add up in squares.
        heights = lengths * size * np.sqrt(2 / np.square(lengths).sum())
        steepness = 2 * np.pi * (heights / lengths).sum()
        heights *= STEEPEST / max(steepness, STEEPEST)
        moved = points.clone()
        # Sums, not matrix products: the precision of those can be set, and phases be lost.
        for wave in range(WAVES):
            number = 2 * np.pi / lengths[wave] * along[wave]
            angle = points[0] * number[0]
            for axis in range(1, dims):
                angle.add_(points[axis], alpha=number[axis])
            height = angle.add_(phases[wave]).sin_()
            for axis in range(dims):
                moved[axis].add_(height, alpha=heights[wave] * towards[wave, axis])
        return moved


def _directions(dims: int, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Unit vectors `[waves, D]`, none more likely than another."""
    vectors = rng.standard_normal((WAVES, dims))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
