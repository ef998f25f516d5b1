import numpy as np
import torch  # noqa: TID253

from medseg.builtin.augment.swap_channels import SwapChannels


def test_channels_come_in_every_order() -> None:
    image = torch.arange(3.0).reshape(3, 1, 1).expand(3, 2, 2)
    orders = set()
    for seed in range(60):
        found = SwapChannels()(image, np.random.default_rng(seed))
        assert sorted(found[:, 0, 0].tolist()) == [0.0, 1.0, 2.0]
        assert (found == found[:, :1, :1]).all()
        orders.add(tuple(found[:, 0, 0].tolist()))
    assert len(orders) == 6


def test_one_channel_stays() -> None:
    image = torch.rand(1, 4, 4)
    assert torch.equal(SwapChannels()(image, np.random.default_rng(0)), image)
