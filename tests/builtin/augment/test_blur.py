import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter  # noqa: TID253

from medseg.builtin.augment.blur import Blur


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.77, 1.0, 2.5])
def test_it_is_the_gaussian_of_scipy_up_to_the_border(image: torch.Tensor, sigma: float) -> None:
    blur = Blur(sigma=(sigma, sigma), per_channel=1)
    for given in (image, image[..., 5]):
        blurred = blur(given, np.random.default_rng(0))
        for before, after in zip(given.double().numpy(), blurred.numpy(), strict=True):
            expected = gaussian_filter(before, sigma, mode="nearest")
            assert np.allclose(after, expected, atol=2e-6 * np.ptp(before))


def test_a_point_spreads_by_sigma_and_the_sum_stays() -> None:
    image = torch.zeros(1, 31, 31, 31)
    image[0, 15, 15, 15] = 1000.0
    for seed in range(5):
        blurred = Blur(sigma=(0.8, 1.5), per_channel=1)(image, np.random.default_rng(seed))[0].double()
        assert float(blurred.sum()) == pytest.approx(1000, rel=1e-5)
        away = torch.arange(31.0).double() - 15
        widths = [
            float((blurred.sum([a for a in range(3) if a != axis]) * away**2).sum() / 1000) ** 0.5
            for axis in range(3)
        ]
        assert widths == pytest.approx([widths[0]] * 3, rel=1e-4)  # one sigma for all axes
        assert 0.79 < widths[0] < 1.51


def test_channels_are_chosen_one_by_one(image: torch.Tensor) -> None:
    kept = []
    for seed in range(100):
        blurred = Blur(per_channel=0.4)(image, np.random.default_rng(seed))
        kept.append([torch.equal(before, after) for before, after in zip(image, blurred, strict=True)])
    assert np.mean(kept, axis=0) == pytest.approx([0.6, 0.6], abs=0.2)
    assert abs(np.corrcoef(np.transpose(kept))[0, 1]) < 0.35


@pytest.mark.parametrize("parameters", [{"sigma": (0, 0), "per_channel": 1}, {"per_channel": 0}])
def test_no_sigma_or_no_channel_changes_nothing(image: torch.Tensor, parameters: dict[str, object]) -> None:
    before = image.clone()
    changed = Blur.model_validate(parameters)(image, np.random.default_rng(0))
    assert torch.equal(changed, image)
    changed += 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [-1000.0, 0.0, 1e-30, 3e4])
def test_images_of_one_value_stay_as_they_are(value: float) -> None:
    for shape in [(2, 5, 6, 7), (1, 1, 1), (1, 8, 8)]:
        image = torch.full(shape, value)
        blurred = Blur(per_channel=1)(image, np.random.default_rng(0))
        assert torch.allclose(blurred, image, rtol=1e-6)


@pytest.mark.parametrize("parameters", [{"sigma": (-1, 1)}, {"sigma": (2, 1)}, {"per_channel": 2}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Blur.model_validate(parameters)


def test_it_follows_from_the_generator(image: torch.Tensor) -> None:
    blur = Blur(per_channel=1)
    first, again, other = (blur(image, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
