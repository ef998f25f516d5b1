"""Phantoms with the scores of a network that is unsure, and how well labels do against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter  # noqa: TID253

from medseg import Grid, Label, LabelTable, Scores, Segmentation, Volume

__all__ = ["INTENSITY", "LABELS", "Phantom", "dice", "hd95", "phantom"]

LABELS = LabelTable((Label(1, "organ"), Label(2, "tumour")))
GRID = Grid((44, 40, 22), np.diag([1.5, 1.5, 3.0, 1.0]))
LEVELS, NOISE = (-100.0, 40.0, 140.0), 20.0  # of background, organ, tumour
INTENSITY = 2 * NOISE


@dataclass(frozen=True)
class Phantom:
    """An image, the logits of background and labels, and the true labels."""

    image: Volume
    scores: Scores
    truth: Segmentation

    @property
    def found(self) -> NDArray[Any]:
        """What the scores alone say, `[i, j, k]`."""
        winner: NDArray[Any] = self.scores.array.argmax(axis=0)
        return winner


def phantom(seed: int) -> Phantom:
    """An organ with a tumour at its edge; scores blur the edges and have noise of a few voxels' size."""
    random = np.random.default_rng(seed)
    place = GRID.to_world(np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), -1)) - GRID.centre
    radii = random.uniform([18, 16, 16], [22, 20, 22])
    organ = ((place / radii) ** 2).sum(-1) <= 1
    way = random.normal(size=3)
    at = way / np.linalg.norm(way / radii) * 0.7
    tumour = np.linalg.norm(place - at, axis=-1) <= random.uniform(7, 9)
    labels = np.where(tumour, 2, np.where(organ, 1, 0))
    pixels = np.take(LEVELS, labels) + random.normal(0, NOISE, GRID.shape)
    sure = np.stack([gaussian_filter((labels == n).astype(float), (1.5, 1.5, 0.75)) for n in range(3)])
    unsure = np.stack([gaussian_filter(random.normal(size=GRID.shape), 0.8) for _ in range(3)])
    logits = 5 * sure + 1.2 * unsure / unsure.std()
    return Phantom(
        Volume(pixels[None].astype(np.float32), GRID),
        Scores(logits.astype(np.float32), GRID, "logits", "softmax"),
        Segmentation(labels[None].astype(np.uint8), GRID, LABELS),
    )


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Overlap of two masks."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def hd95(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """95th percentile in mm of the distances between two masks' border voxels, the larger of both ways."""
    borders = [mask & ~binary_erosion(mask, border_value=0) for mask in (one, other)]
    away = [distance_transform_edt(~border, sampling=GRID.spacing) for border in borders]
    return max(float(np.percentile(far[border], 95)) for far, border in zip(away, borders[::-1], strict=True))
