"""What a voxel hears through the coarse grid is what it hears from all others one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_crf import bilateral_grid
from medseg_crf.bilateral_grid import BilateralGrid
from medseg_crf.gaussian import Gaussian
from scipy.ndimage import gaussian_filter1d  # noqa: TID253

SHAPE = (14, 9, 8)


def by_pairs(
    values: torch.Tensor, image: torch.Tensor, sd: tuple[float, ...], intensity: float
) -> torch.Tensor:
    places = torch.stack(torch.meshgrid(*map(torch.arange, image.shape), indexing="ij"), -1).reshape(-1, 3)
    apart = ((places[:, None] - places[None]) / torch.tensor(sd)).square().sum(-1)
    unlike = (image.reshape(-1, 1) - image.reshape(1, -1)) / intensity
    return (values.reshape(len(values), -1) @ torch.exp(-0.5 * (apart + unlike**2))).reshape(values.shape)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 2 + 40


@pytest.mark.parametrize("sd", [(0.8, 1.0, 1.7), (2.3, 4.0, 3.1), (6.5, 5.0, 2.0)])
@pytest.mark.parametrize("intensity", [0.7, 2.0, 50.0])
def test_sums_are_those_over_all_pairs(image: torch.Tensor, sd: tuple[float, ...], intensity: float) -> None:
    values = torch.rand((2, *SHAPE), generator=torch.Generator().manual_seed(1))
    found = BilateralGrid(image, sd, intensity).heard(values)
    expected = by_pairs(values, image, sd, intensity)
    assert ((found - expected).abs() / expected).max() < 0.12
    assert ((found - expected) / expected).mean().abs() < 0.02


def test_the_kernel_is_symmetric(image: torch.Tensor) -> None:
    kernel = BilateralGrid(image, (4.0, 4.0, 4.0), 2.0)
    one, other = torch.zeros((1, *SHAPE)), torch.zeros((1, *SHAPE))
    one[0, 3, 4, 5] = other[0, 8, 2, 1] = 1
    there, back = kernel.heard(one)[0, 8, 2, 1], kernel.heard(other)[0, 3, 4, 5]
    assert there > 0
    assert torch.allclose(there, back)


def test_a_grid_of_too_many_cells_becomes_coarser(
    image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.ones((1, *SHAPE))
    fine = BilateralGrid(image, (4.0, 4.0, 4.0), 2.0).heard(values)
    monkeypatch.setattr(bilateral_grid, "MOST_CELLS", 400)
    coarse = BilateralGrid(image, (4.0, 4.0, 4.0), 2.0).heard(values)
    assert not torch.equal(coarse, fine)
    assert (coarse / fine - 1).abs().max() < 0.25


def test_an_image_of_one_intensity_is_a_kernel_of_distance() -> None:
    values = torch.rand((1, *SHAPE), generator=torch.Generator().manual_seed(2))
    sd = (1.5, 1.0, 1.2)
    found = BilateralGrid(torch.full(SHAPE, 7.0), sd, 1.0).heard(values)
    plain = Gaussian(sd).heard(values)
    assert torch.allclose(found / found.mean(), plain / plain.mean(), rtol=2e-3)


def test_a_gaussian_is_scipys() -> None:
    values = np.random.default_rng(3).random((1, *SHAPE)).astype(np.float32)
    sd = (1.5, 0.8, 2.4)
    expected = values.astype(float)
    for axis, one in enumerate(sd, 1):
        scale = np.exp(-0.5 * (np.arange(-4 * 3, 4 * 3 + 1) / one) ** 2)
        scale = scale[np.abs(np.arange(-12, 13)) <= np.ceil(4 * one)].sum()
        expected = scale * gaussian_filter1d(
            expected, one, axis=axis, mode="constant", radius=int(np.ceil(4 * one))
        )
    assert np.allclose(Gaussian(sd).heard(torch.from_numpy(values)).numpy(), expected, rtol=1e-4)
