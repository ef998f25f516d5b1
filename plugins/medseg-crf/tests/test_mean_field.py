"""The mean field is the exact one, summed over all pairs of voxels, where coupling is weak."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_crf.bilateral_grid import BilateralGrid
from medseg_crf.gaussian import Gaussian
from medseg_crf.mean_field import mean_field
from numpy.typing import NDArray

Shape = tuple[int, int, int]
SHAPES: list[tuple[Shape, tuple[float, float, float]]] = [
    ((22, 19, 1), (3.0, 4.2, 3.0)),
    ((9, 8, 7), (2.1, 3.0, 1.2)),
    ((24, 5, 5), (5.0, 1.5, 0.7)),
]


def image_of(shape: Shape, seed: int = 0) -> NDArray[np.float32]:
    """Two halves of unlike intensity, and noise."""
    noise = np.random.default_rng(seed).normal(0, 8, shape)
    noise[: shape[0] // 2] += 60
    return np.asarray(noise, np.float32)


def unary_of(labels: int, shape: Shape, seed: int = 1) -> NDArray[np.float32]:
    """Noise that speaks for the first label in one half, for the second in the other."""
    noise = np.random.default_rng(seed).normal(0, 1, (labels, *shape))
    noise[0, : shape[0] // 2] += 1
    noise[1, shape[0] // 2 :] += 1
    return np.asarray(noise, np.float32)


def kernels_of(image: NDArray[np.float32], near: Any, wide: Any, intensity: float) -> list[NDArray[Any]]:
    """Both kernels as matrices `[voxel, voxel]`, by the definition of Krähenbühl and Koltun."""
    places = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1).reshape(-1, 3)
    apart = (places[:, None] - places[None]).astype(float)
    unlike = (image.reshape(-1, 1).astype(float) - image.reshape(1, -1)) / intensity
    return [
        np.exp(-0.5 * ((apart / near) ** 2).sum(-1)),
        np.exp(-0.5 * ((apart / wide) ** 2).sum(-1) - 0.5 * unlike**2),
    ]


def exact(unary: NDArray[Any], kernels: list[tuple[float, NDArray[Any]]], iterations: int) -> NDArray[Any]:
    """Probabilities `[label, voxel]`: each update sums what unlike labels cost over all other voxels."""
    shares: NDArray[Any] = np.exp(unary) / np.exp(unary).sum(0)
    for _ in range(iterations):
        energy = -unary.astype(float)
        for weight, kernel in kernels:
            total = kernel.sum(1)
            pairs = kernel / np.sqrt(total[:, None] * total[None])
            np.fill_diagonal(pairs, 0)
            energy += weight * ((1 - shares) @ pairs)
        shares = np.exp(-energy) / np.exp(-energy).sum(0)
    return shares


@pytest.mark.parametrize(("shape", "sd"), SHAPES)
@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("labels", [2, 4])
def test_exclusive_labels(shape: Shape, sd: tuple[float, float, float], weight: float, labels: int) -> None:
    image = image_of(shape)
    unary = unary_of(labels, shape)
    near = (1.3, 1.0, 1.6)
    pairs = [(weight, kernel) for kernel in kernels_of(image, near, sd, 20.0)]
    expected = exact(unary.reshape(labels, -1), pairs, 5)
    kernels: Any = [
        (weight, Gaussian(near)),
        (weight, BilateralGrid(torch.from_numpy(image), sd, 20.0)),
    ]
    with torch.no_grad():
        found = mean_field(torch.from_numpy(unary), kernels, iterations=5, exclusive=True)
    shares = found.softmax(0).numpy().reshape(labels, -1)
    before = exact(unary.reshape(labels, -1), [], 1)
    assert np.abs(expected - before).max() > 0.07  # the kernels matter
    assert len(np.unique(expected.argmax(0))) == labels  # and no label has won everywhere
    assert np.abs(shares - expected).max() <= 0.01


def test_labels_that_overlap_are_fields_of_two_labels_each() -> None:
    shape, sd = SHAPES[1]
    image = image_of(shape)
    unary = unary_of(3, shape)
    kernels: Any = [(1.0, BilateralGrid(torch.from_numpy(image), sd, 20.0))]
    with torch.no_grad():
        found = mean_field(torch.from_numpy(unary), kernels, iterations=5, exclusive=False).sigmoid().numpy()
    _, pairs = kernels_of(image, sd, sd, 20.0)
    for channel in range(3):
        two = np.stack([np.zeros(image.size), unary[channel].ravel()])
        expected = exact(two, [(1.0, pairs)], 5)[1]
        assert np.abs(found[channel].ravel() - expected).max() <= 0.01


def test_without_weight_or_neighbours_nothing_changes() -> None:
    unary = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mean_field(unary, [], iterations=3, exclusive=True), unary)
    one = unary[:, :1, :1, :1]
    kernels: Any = [(1.0, Gaussian((1.0, 1.0, 1.0)))]
    assert torch.allclose(mean_field(one, kernels, iterations=3, exclusive=False), one)
