import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.augment.gamma import Gamma


def test_known_answers() -> None:
    image = torch.tensor([[[100.0, 150.0], [200.0, 300.0]]])  # 0, 1/4, 1/2 and 1 of its range
    for inverted, expected in [(0, [100, 112.5, 150, 300]), (1, [100, 187.5, 250, 300])]:
        gamma = Gamma(power=(2, 2), inverted=inverted, keep_statistics=False)
        assert gamma(image, np.random.default_rng(0)).flatten().tolist() == pytest.approx(expected)


def test_mean_and_standard_deviation_are_kept(image: torch.Tensor) -> None:
    for seed in range(10):
        changed = Gamma(power=(0.3, 3))(image, np.random.default_rng(seed))
        for before, after in zip(image.double(), changed.double(), strict=True):
            assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-4 * float(before.std()))
            assert float(after.std()) == pytest.approx(float(before.std()), rel=1e-4)


def test_or_else_smallest_and_largest_value_are(image: torch.Tensor) -> None:
    for seed in range(10):
        changed = Gamma(keep_statistics=False)(image, np.random.default_rng(seed))
        for before, after in zip(image, changed, strict=True):
            for end in (torch.min, torch.max):
                assert float(end(after)) == pytest.approx(float(end(before)), rel=1e-5, abs=1e-3)


def test_the_order_of_values_stays(image: torch.Tensor) -> None:
    for seed in range(10):
        changed = Gamma(power=(0.3, 3), inverted=0.5)(image, np.random.default_rng(seed))
        for before, after in zip(image, changed, strict=True):
            assert (after.flatten()[before.flatten().argsort()].diff() >= 0).all()


def test_powers_lie_in_the_span_half_of_them_below_one() -> None:
    image = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
    found, turned = [], 0
    for seed in range(400):
        middle = Gamma(inverted=0.25, keep_statistics=False)(image, np.random.default_rng(seed))[0, 0, 1]
        # Of powers from 0.7 to 1.5, one taken of the negative gives what the plain one does, mirrored at 1/2.
        rng = np.random.default_rng(seed)
        inverted = rng.random() < 0.25
        turned += inverted
        found.append(float(-torch.log2(1 - middle if inverted else middle)))
    assert turned / 400 == pytest.approx(0.25, abs=0.1)
    assert 0.699 < min(found) < 0.72
    assert 1.45 < max(found) < 1.501
    assert np.mean(np.array(found) < 1) == pytest.approx(0.5, abs=0.1)


def test_a_power_of_one_changes_nothing_but_roundings(image: torch.Tensor) -> None:
    before = image.clone()
    for inverted in (0, 1):
        changed = Gamma(power=(1, 1), inverted=inverted)(image, np.random.default_rng(0))
        assert torch.allclose(changed, image, atol=1e-3)
        changed += 1
        assert torch.equal(image, before)


@pytest.mark.parametrize("value", [-1000.0, 0.0, 1e-30, 3e4])
def test_images_of_one_value_stay_as_they_are(value: float) -> None:
    for inverted in (0, 1):
        for shape in [(2, 5, 6, 7), (1, 1, 1), (1, 8, 8)]:
            image = torch.full(shape, value)
            assert torch.equal(Gamma(inverted=inverted)(image, np.random.default_rng(0)), image)


def test_nearly_one_value_stays_finite() -> None:
    image = torch.full((1, 6, 6), 1000.0)
    image[0, 2, 3] = torch.nextafter(torch.tensor(1000.0), torch.tensor(2000.0))
    for seed in range(10):
        changed = Gamma(inverted=0.5)(image, np.random.default_rng(seed))
        assert torch.allclose(changed, image, rtol=1e-5)


def test_it_is_the_same_image_in_2d(image: torch.Tensor) -> None:
    flat = image.reshape(2, 20, -1)
    solid, plane = (Gamma()(each, np.random.default_rng(5)) for each in (image, flat))
    assert torch.allclose(solid.reshape(flat.shape), plane, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("parameters", [{"power": (0, 1)}, {"power": (2, 1)}, {"inverted": 1.1}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Gamma.model_validate(parameters)


def test_it_follows_from_the_generator(image: torch.Tensor) -> None:
    first, again, other = (Gamma()(image, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
