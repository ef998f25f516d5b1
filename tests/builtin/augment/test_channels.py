import numpy as np
import pytest
import torch  # noqa: TID253

from medseg.builtin.augment.channels import each_channel, mean_and_sd, smallest_and_largest


@pytest.mark.parametrize("shape", [(3, 7, 6, 5), (3, 9, 8), (1, 4, 4)])
def test_numbers_of_each_channel_agree_with_numpy(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(-500, 300, shape).astype(np.float32)
    image, axes = torch.from_numpy(array), tuple(range(1, len(shape)))
    wide = array.astype(np.float64)
    for found, expected in zip(
        (*mean_and_sd(image), *smallest_and_largest(image)),
        (wide.mean(axes), wide.std(axes), wide.min(axes), wide.max(axes)),
        strict=True,
    ):
        assert found.shape == (shape[0], *(1,) * len(axes))
        assert np.allclose(found.flatten(), expected, rtol=1e-5)


def test_values_spread_over_their_channel() -> None:
    image = torch.ones(2, 3, 4)
    assert (each_channel(np.array([2.0, 5.0]), image) * image).sum((1, 2)).tolist() == [24, 60]
    assert each_channel(np.array([2.0, 5.0]), image).dtype == torch.float32
