import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.augment.brightness import Brightness


@pytest.mark.parametrize(
    ("centre", "expected"), [("zero", [-2, 0, 4, 6]), ("mean", [-3, -1, 3, 5]), ("minimum", [-1, 1, 5, 7])]
)
def test_known_answers_about_each_centre(centre: str, expected: list[float]) -> None:
    image = torch.tensor([[[-1.0, 0.0], [2.0, 3.0]]])
    brightness = Brightness.model_validate({"factor": (2, 2), "centre": centre})
    assert brightness(image, np.random.default_rng(0)).flatten().tolist() == expected


def test_each_channel_has_a_factor_of_its_own_from_the_span(image: torch.Tensor) -> None:
    found = []
    for seed in range(200):
        ratio = (Brightness()(image, np.random.default_rng(seed)) / image).flatten(1).double()
        assert torch.allclose(ratio, ratio[:, :1], rtol=1e-4)
        found.append(ratio[:, 0].tolist())
    assert 0.75 <= np.min(found) < 0.76
    assert 1.24 < np.max(found) <= 1.2501
    assert abs(np.corrcoef(np.transpose(found))[0, 1]) < 0.25


def test_a_shift_is_a_share_of_the_standard_deviation(image: torch.Tensor) -> None:
    sd = image.flatten(1).std(1, correction=0)
    shares = []
    for seed in range(200):
        away = (Brightness(factor=(1, 1), shift=0.5)(image, np.random.default_rng(seed)) - image).flatten(1)
        shares.append(away.mean(1) / sd)
    found = torch.stack(shares)
    assert 0.47 < found.abs().max() <= 0.5001
    assert found.std(0).numpy() == pytest.approx(0.5 / np.sqrt(3), rel=0.15)


def test_a_factor_of_one_and_no_shift_change_nothing(image: torch.Tensor) -> None:
    before = image.clone()
    changed = Brightness(factor=(1, 1))(image, np.random.default_rng(0))
    assert torch.equal(changed, image)
    changed += 1
    assert torch.equal(image, before)


def test_the_order_of_values_stays(image: torch.Tensor) -> None:
    for centre in ("zero", "mean", "minimum"):
        change = Brightness.model_validate({"centre": centre, "shift": 1})
        for before, after in zip(image, change(image, np.random.default_rng(1)), strict=True):
            assert (after.flatten()[before.flatten().argsort()].diff() >= 0).all()


@pytest.mark.parametrize("value", [-1000.0, 0.0, 1e-30, 3e4])
def test_images_of_one_value_stay_finite(value: float) -> None:
    for centre in ("zero", "mean", "minimum"):
        change = Brightness.model_validate({"centre": centre, "shift": 1})
        for shape in [(2, 5, 6, 7), (1, 1, 1), (1, 8, 8)]:
            changed = change(torch.full(shape, value), np.random.default_rng(0))
            assert torch.isfinite(changed).all()
            assert changed.shape == shape


def test_it_is_the_same_image_in_2d(image: torch.Tensor) -> None:
    flat = image.reshape(2, 20, -1)
    solid, plane = (Brightness(shift=1)(each, np.random.default_rng(5)) for each in (image, flat))
    assert torch.allclose(solid.reshape(flat.shape), plane, rtol=1e-5)


@pytest.mark.parametrize("parameters", [{"factor": (0, 1)}, {"centre": "median"}, {"shift": -1}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Brightness.model_validate(parameters)


def test_it_follows_from_the_generator(image: torch.Tensor) -> None:
    first, again, other = (Brightness()(image, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
