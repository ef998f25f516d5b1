"""Patches with known answers: the points at which they are read, and images to read there."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253

from medseg.segmentation import Label, LabelTable
from medseg.steps import SpatialAugmentation

Points = Callable[[Sequence[int], Sequence[float]], torch.Tensor]
BALLS_MM = (((-9.0, 4.0, 2.0), 9.0, 1.0), ((14.0, -10.0, -7.0), 7.0, 0.9), ((2.0, 16.0, 11.0), 8.0, 0.8))


@pytest.fixture
def points() -> Points:
    """Make the points `[D, *patch]` in mm of a patch that nothing has moved, from its shape and spacing."""

    def make(shape: Sequence[int], spacing: Sequence[float]) -> torch.Tensor:
        lines = [
            (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * s
            for n, s in zip(shape, spacing, strict=True)
        ]
        return torch.stack(torch.meshgrid(*lines, indexing="ij"))

    return make


@pytest.fixture
def image() -> torch.Tensor:
    """Two channels of Hounsfield-like and of small values, 3-D, reproducible."""
    rng = np.random.default_rng(11)
    array = np.stack([rng.normal(40, 300, (20, 24, 18)), 0.1 * rng.gamma(2, 3, (20, 24, 18))])
    return torch.from_numpy(array.astype(np.float32))


@pytest.fixture
def kidneys() -> LabelTable:
    """Labels that are told apart by their side."""
    return LabelTable((Label(1, "left kidney"), Label(2, "right kidney"), Label(3, "liver")))


@pytest.fixture
def liver() -> LabelTable:
    """One label, which has no side."""
    return LabelTable((Label(1, "liver"),))


def blobs(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three smooth balls in mm, at places `[D, …]`; their middles are the brightest."""
    total = np.zeros(places.shape[1:])
    for centre, width, height in BALLS_MM:
        away = places - np.reshape(centre[: len(places)], (-1, *(1,) * (places.ndim - 1)))
        total += height * np.exp(-(away**2).sum(0) / (2 * width**2))
    return total


@pytest.fixture
def assert_together(points: Points) -> Callable[[SpatialAugmentation], None]:
    """See that an image, read linearly, and its mask, read by nearest voxel, fit at the moved points."""

    def check(augmentation: SpatialAugmentation) -> None:
        for shape, spacing in [((60, 64, 40), (1.0, 1.2, 1.9)), ((70, 80), (1.1, 0.8))]:
            # The case is larger than the patch, whose points lie at its centre.
            case = blobs(points(shape, spacing).double().numpy())
            patch = points([n // 2 for n in shape], spacing)
            gradient = np.linalg.norm(np.gradient(case, *spacing), axis=0).max()
            unsure = gradient * np.linalg.norm(spacing) / 2 + 0.01  # a nearest voxel is half a diagonal away
            for seed in range(4):
                moved = augmentation(patch, np.random.default_rng(seed)).double().numpy()
                index = [m / s + (n - 1) / 2 for m, s, n in zip(moved, spacing, shape, strict=True)]
                values = ndimage.map_coordinates(case, index, order=1, mode="nearest")
                mask = ndimage.map_coordinates((case > 0.5).astype(float), index, order=0, mode="nearest")
                inside = np.all([(i >= 0) & (i <= n - 1) for i, n in zip(index, shape, strict=True)], axis=0)
                assert inside.mean() > 0.7
                assert np.abs(values - blobs(moved))[inside].max() < 0.03
                sure = np.abs(values - 0.5) > unsure
                assert sure.mean() > 0.5
                assert np.array_equal(values[sure] > 0.5, mask[sure] > 0.5)
                assert 0.01 < mask.mean() < 0.9

    return check
