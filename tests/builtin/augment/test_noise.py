import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError
from scipy.stats import kstest  # noqa: TID253

from medseg.builtin.augment.noise import Noise


@pytest.mark.parametrize("shape", [(2, 30, 40, 30), (2, 200, 180)])
def test_noise_is_gaussian_and_a_share_of_each_channels_spread(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    image = torch.from_numpy(rng.normal(-500, 300, shape).astype(np.float32))
    image[1] = 0.001 * image[1]
    added = Noise(sd=(0.25, 0.25))(image, np.random.default_rng(0)).double() - image
    for noise, channel in zip(added, image.double(), strict=True):
        share = noise / channel.std()
        assert float(share.std()) == pytest.approx(0.25, rel=0.03)
        assert float(share.mean()) == pytest.approx(0, abs=0.01)
        assert kstest(share.flatten()[:3000].numpy() / 0.25, "norm").pvalue > 0.001
    between = np.corrcoef(added[0].flatten(), added[1].flatten())[0, 1]
    neighbours = np.corrcoef(added[0, 1:].flatten(), added[0, :-1].flatten())[0, 1]
    assert abs(between) < 0.03
    assert abs(neighbours) < 0.03


def test_amounts_are_even_in_the_span_and_one_for_all_channels(image: torch.Tensor) -> None:
    sd = image.flatten(1).std(1)
    shares = torch.stack(
        [
            (Noise(sd=(0.1, 0.3))(image, np.random.default_rng(seed)) - image).flatten(1).std(1) / sd
            for seed in range(100)
        ]
    )
    assert torch.allclose(shares[:, 0], shares[:, 1], rtol=0.06)
    assert 0.095 < shares.min() < 0.12
    assert 0.28 < shares.max() < 0.31


def test_no_noise_changes_nothing(image: torch.Tensor) -> None:
    before = image.clone()
    changed = Noise(sd=(0, 0))(image, np.random.default_rng(0))
    assert torch.equal(changed, image)
    changed += 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [-1000.0, 0.0, 1e-30, 3e4])
def test_images_of_one_value_have_no_spread_and_stay(value: float) -> None:
    for shape in [(2, 5, 6, 7), (1, 1, 1), (1, 8, 8)]:
        image = torch.full(shape, value)
        assert torch.allclose(Noise()(image, np.random.default_rng(0)), image, rtol=1e-6)


@pytest.mark.parametrize("sd", [(-0.1, 0.1), (0.3, 0.1)])
def test_wrong_amounts_are_refused(sd: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        Noise(sd=sd)


def test_it_follows_from_the_generator(image: torch.Tensor) -> None:
    first, again, other = (Noise()(image, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
