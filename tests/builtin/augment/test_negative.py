import numpy as np
import torch  # noqa: TID253

from medseg.builtin.augment.negative import Negative


def test_every_channel_is_turned_over_within_its_range() -> None:
    image = torch.tensor([[[-1.0, 0.0], [2.0, 3.0]], [[10.0, 10.0], [20.0, 14.0]]])
    found = Negative()(image, np.random.default_rng(0))
    assert found.tolist() == [[[3.0, 2.0], [0.0, -1.0]], [[20.0, 20.0], [10.0, 16.0]]]
    assert torch.equal(Negative()(found, np.random.default_rng(0)), image)


def test_a_flat_channel_stays_as_it_is() -> None:
    image = torch.full((1, 3, 3, 3), 7.0)
    assert torch.equal(Negative()(image, np.random.default_rng(0)), image)
