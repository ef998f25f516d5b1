import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.augment.contrast import Contrast


def test_known_answers() -> None:
    image = torch.tensor([[[-1.0, 0.0], [2.0, 3.0]]])  # of mean 1
    for keep_range, factor, expected in [
        (False, 2, [-3, -1, 3, 5]),
        (True, 2, [-1, -1, 3, 3]),
        (True, 0.5, [0, 0.5, 1.5, 2]),
    ]:
        changed = Contrast(factor=(factor, factor), keep_range=keep_range)(image, np.random.default_rng(0))
        assert changed.flatten().tolist() == expected


def test_each_channel_is_stretched_about_its_mean(image: torch.Tensor) -> None:
    found = []
    for seed in range(100):
        changed = Contrast(keep_range=False)(image, np.random.default_rng(seed))
        for before, after in zip(image.double(), changed.double(), strict=True):
            factor = float(after.std() / before.std())
            expected = (before - before.mean()) * factor + before.mean()
            assert torch.allclose(after, expected, atol=1e-3 * float(before.std()))
            found.append(factor)
    assert 0.75 <= min(found) < 0.77
    assert 1.23 < max(found) <= 1.2501
    assert abs(np.corrcoef(np.reshape(found, (-1, 2)).T)[0, 1]) < 0.3


def test_the_order_and_the_range_of_values_stay(image: torch.Tensor) -> None:
    for seed in range(10):
        changed = Contrast(factor=(0.5, 3))(image, np.random.default_rng(seed))
        for before, after in zip(image, changed, strict=True):
            assert (after.flatten()[before.flatten().argsort()].diff() >= 0).all()
            assert before.min() <= after.min()
            assert after.max() <= before.max()


def test_hounsfield_units_are_not_squeezed_into_another_range(image: torch.Tensor) -> None:
    changed = Contrast()(image, np.random.default_rng(0))
    assert changed[0].min() < -600
    assert changed[0].max() > 800


def test_a_factor_of_one_changes_nothing(image: torch.Tensor) -> None:
    before = image.clone()
    changed = Contrast(factor=(1, 1))(image, np.random.default_rng(0))
    assert torch.equal(changed, image)
    changed += 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [-1000.0, 0.0, 1e-30, 3e4])
def test_images_of_one_value_stay_as_they_are(value: float) -> None:
    for shape in [(2, 5, 6, 7), (1, 1, 1), (1, 8, 8)]:
        image = torch.full(shape, value)
        assert torch.equal(Contrast()(image, np.random.default_rng(0)), image)


def test_it_is_the_same_image_in_2d(image: torch.Tensor) -> None:
    flat = image.reshape(2, 20, -1)
    solid, plane = (Contrast()(each, np.random.default_rng(5)) for each in (image, flat))
    assert torch.allclose(solid.reshape(flat.shape), plane, rtol=1e-4, atol=1e-3)


def test_wrong_factors_are_refused() -> None:
    with pytest.raises(ValidationError):
        Contrast(factor=(1.2, 0.8))


def test_it_follows_from_the_generator(image: torch.Tensor) -> None:
    first, again, other = (Contrast()(image, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
