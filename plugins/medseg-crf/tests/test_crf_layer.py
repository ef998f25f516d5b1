"""The layer is the exact mean field within its window, and its gradients are those of finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_crf.crf_layer import CrfLayer, Kernels
from medseg_crf.windowed import Smooth, Windowed
from numpy.typing import NDArray
from torch.func import functional_call  # noqa: TID253

Shape = tuple[int, ...]
SHAPES: list[tuple[Shape, Shape]] = [((17, 14), (4, 3)), ((7, 6, 8), (2, 3, 1)), ((9, 2, 5), (3, 3, 3))]


def kernels_for(reach: Shape, *, guides: tuple[int, ...] = (0,)) -> Kernels:
    axes = len(reach)
    return Kernels((0.9, 1.2, 0.7)[:axes], (2.5, 2.0, 3.0)[:axes], reach, 0.6, guides)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matrices(image: torch.Tensor, kernels: Kernels) -> list[NDArray[Any]]:
    """Both kernels between all pairs of voxels of `image[G, *size]`, as they are defined."""
    places = np.stack(np.meshgrid(*map(np.arange, image.shape[1:]), indexing="ij"), -1)
    places = places.reshape(-1, places.shape[-1])
    apart = (places[:, None] - places[None]).astype(float)
    looked_at = image[list(kernels.guides)].reshape(len(kernels.guides), -1).numpy().astype(float)
    unlike = ((looked_at[:, :, None] - looked_at[:, None]) / kernels.intensity) ** 2
    near = np.exp(-0.5 * ((apart / kernels.smooth) ** 2).sum(-1))
    wide = np.exp(-0.5 * ((apart / kernels.appearance) ** 2).sum(-1) - 0.5 * unlike.sum(0))
    wide[(np.abs(apart) > kernels.reach).any(-1)] = 0
    pairs = []
    for kernel in (near, wide):
        scaled = kernel / np.sqrt(kernel.sum(1)[:, None] * kernel.sum(1)[None])
        np.fill_diagonal(scaled, 0)
        pairs.append(scaled)
    return pairs


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shares = np.exp(logits - logits.max(0))
    found: NDArray[Any] = shares / shares.sum(0)
    return found


@pytest.mark.parametrize(("shape", "reach"), SHAPES)
@pytest.mark.parametrize("labels", [2, 4])
def test_shares_are_those_of_the_exact_field_within_the_window(
    shape: Shape, reach: Shape, labels: int
) -> None:
    kernels, weights = kernels_for(reach, guides=(0, 1)), (0.5, 1.0)
    image, unary = drawn(2, 2, *shape), drawn(2, labels, *shape, seed=1)
    half = shape[0] // 2
    image[:, :, :half] += 2
    unary[:, 0, :half] += 1
    unary[:, 1, half:] += 1
    layer = CrfLayer(labels, kernels, weights, iterations=5, exclusive=True)
    with torch.no_grad():
        layer.compatibility.add_(0.1 * drawn(labels, labels, seed=2))
        found = layer(unary, image).softmax(1).numpy()
    for n in range(2):
        begun = unary[n].reshape(labels, -1).numpy().astype(float)
        logits: NDArray[Any] = begun
        for _ in range(5):
            near, wide = matrices(image[n], kernels)
            heard = softmax(logits) @ (weights[0] * near + weights[1] * wide)
            logits = begun - layer.compatibility.detach().numpy() @ heard
        expected = softmax(logits)
        assert np.abs(expected - softmax(begun)).max() > 0.07  # the kernels matter
        assert np.abs(found[n].reshape(labels, -1) - expected).max() < 1e-3


def test_a_label_by_itself_is_a_field_of_two() -> None:
    image, unary = drawn(1, 1, 12, 11), drawn(1, 2, 12, 11, seed=1)
    kernels = kernels_for((3, 3))
    with torch.no_grad():
        apart = CrfLayer(2, kernels, (1.0, 1.0), iterations=4, exclusive=False)(unary, image)
        two = CrfLayer(2, kernels, (1.0, 1.0), iterations=4, exclusive=True)
        for n in range(2):
            pair = two(torch.cat([torch.zeros_like(unary[:, :1]), unary[:, n : n + 1]], 1), image)
            torch.testing.assert_close(apart[:, n], pair[:, 1] - pair[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)])
@pytest.mark.parametrize("exclusive", [True, False])
def test_gradients(shape: Shape, exclusive: bool) -> None:
    axes = len(shape)
    layer = CrfLayer(3, kernels_for((2, 1, 1)[:axes]), (0.7, 1.1), iterations=2, exclusive=exclusive).double()
    image = drawn(1, 1, *shape).double()
    unary = drawn(1, 3, *shape, seed=1).double().requires_grad_()
    weights, together = (value.detach().clone().requires_grad_() for value in layer.parameters())

    def field(*values: torch.Tensor) -> torch.Tensor:
        own = {"weights": values[1], "compatibility": values[2]}
        found: torch.Tensor = functional_call(layer, own, (values[0], image))
        return found

    assert torch.autograd.gradcheck(field, (unary, weights, together))


@pytest.mark.parametrize(("shape", "reach"), SHAPES)
def test_sums_are_symmetric_as_their_gradient_takes_for_granted(shape: Shape, reach: Shape) -> None:
    image = drawn(1, 1, *shape).double()
    one, other = drawn(1, 2, *shape, seed=1).double(), drawn(1, 2, *shape, seed=2).double()
    sds = kernels_for(reach)
    for kernel in (Smooth(image, sds.smooth), Windowed(image, sds.appearance, sds.reach)):
        torch.testing.assert_close((kernel.heard(one) * other).sum(), (one * kernel.heard(other)).sum())


def test_half_precision_is_summed_in_single() -> None:
    layer = CrfLayer(2, kernels_for((2, 2)), (1.0, 1.0), iterations=2, exclusive=True)
    image, unary = drawn(1, 1, 8, 8), drawn(1, 2, 8, 8, seed=1)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = layer(unary.bfloat16(), image.bfloat16())
    assert found.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(found, layer(unary.bfloat16().float(), image.bfloat16().float()))
