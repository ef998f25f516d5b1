import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError
from scipy.interpolate import interpn  # noqa: TID253

from medseg.builtin.augment.low_resolution import LowResolution

HALF = LowResolution(factor=(0.5, 0.5), per_channel=1)


def test_known_answer_along_an_axis() -> None:
    """Of pairs of voxels the second is taken; in between is linear, and beyond the last ones flat."""
    row = torch.tensor([9.0, 0.0, 9.0, 4.0, 9.0, 8.0, 9.0, 0.0])
    image = row.reshape(1, -1, 1).expand(1, 8, 8).contiguous()
    expected = [0, 1, 3, 5, 7, 6, 2, 0]
    changed = HALF(image, np.random.default_rng(0))
    assert changed[0, :, 3].tolist() == pytest.approx(expected)
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.7, 0.95])
def test_it_is_multilinear_between_the_nearest_voxels_of_a_coarser_grid(
    image: torch.Tensor, factor: float
) -> None:
    change = LowResolution(factor=(factor, factor), per_channel=1)
    for given in (image, image[..., 5]):
        changed = change(given, np.random.default_rng(0))
        shape = given.shape[1:]
        coarse = [round(n * factor) for n in shape]
        # Centres of the coarser voxels, in voxels of the patch.
        centres = [(np.arange(m) + 0.5) * n / m - 0.5 for m, n in zip(coarse, shape, strict=True)]
        nearest = [np.floor(c + 0.5).astype(int) for c in centres]
        places = np.meshgrid(
            *(np.clip(np.arange(n), c[0], c[-1]) for n, c in zip(shape, centres, strict=True)), indexing="ij"
        )
        for before, after in zip(given.double().numpy(), changed.numpy(), strict=True):
            expected = interpn(centres, before[np.ix_(*nearest)], np.stack(places, -1))
            assert np.allclose(after, expected, atol=1e-5 * np.ptp(before))


def test_factors_and_channels_are_drawn_one_by_one(image: torch.Tensor) -> None:
    kept = []
    for seed in range(100):
        changed = LowResolution(per_channel=0.4)(image, np.random.default_rng(seed))
        kept.append([torch.equal(before, after) for before, after in zip(image, changed, strict=True)])
    assert np.mean(kept, axis=0) == pytest.approx([0.6, 0.6], abs=0.2)
    assert abs(np.corrcoef(np.transpose(kept))[0, 1]) < 0.35
    twins = image[:1].expand(6, *image.shape[1:]).contiguous()
    changed = LowResolution(factor=(0.3, 0.9), per_channel=1)(twins, np.random.default_rng(0))
    assert len({each.double().std().item() for each in changed}) > 3


@pytest.mark.parametrize("parameters", [{"factor": (1, 1), "per_channel": 1}, {"per_channel": 0}])
def test_a_factor_of_one_or_no_channel_changes_nothing(
    image: torch.Tensor, parameters: dict[str, object]
) -> None:
    before = image.clone()
    changed = LowResolution.model_validate(parameters)(image, np.random.default_rng(0))
    assert torch.equal(changed, image)
    changed += 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [-1000.0, 0.0, 1e-30, 3e4])
def test_images_of_one_value_stay_as_they_are(value: float) -> None:
    for shape in [(2, 5, 6, 7), (1, 1, 1), (1, 8, 8)]:
        image = torch.full(shape, value)
        changed = LowResolution(factor=(0.1, 1), per_channel=1)(image, np.random.default_rng(0))
        assert torch.allclose(changed, image, rtol=1e-6)


def test_no_value_leaves_the_range(image: torch.Tensor) -> None:
    changed = HALF(image, np.random.default_rng(0))
    for before, after in zip(image, changed, strict=True):
        assert before.min() <= after.min()
        assert after.max() <= before.max()
        assert after.double().std() < before.double().std()


@pytest.mark.parametrize("factor", [(0, 1), (0.5, 1.5), (0.9, 0.5)])
def test_wrong_factors_are_refused(factor: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        LowResolution(factor=factor)


def test_it_follows_from_the_generator(image: torch.Tensor) -> None:
    change = LowResolution(per_channel=1)
    first, again, other = (change(image, np.random.default_rng(seed)) for seed in (0, 0, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
