from typing import Literal

import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.network.unet import Unet


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual_units", [0, 2])
def test_logits_have_the_size_of_the_patch(dims: Literal[2, 3], residual_units: int) -> None:
    net = Unet(channels=(4, 8, 16), residual_units=residual_units)
    module = net.build(dims=dims, inputs=2, outputs=5).eval()
    patch = [8, 12, 16][:dims]
    with torch.inference_mode():
        assert list(module(torch.zeros(1, 2, *patch)).shape) == [1, 5, *patch]


def test_strides_by_axis_make_the_divisor() -> None:
    assert Unet().divisor(dims=3) == (8, 8, 8)
    net = Unet(channels=(4, 8, 16), strides=((2, 2, 1), 2))
    assert net.divisor(dims=3) == (4, 4, 2)
    module = net.build(dims=3, inputs=1, outputs=2).eval()
    with torch.inference_mode():
        assert module(torch.zeros(1, 1, 8, 8, 4)).shape == (1, 2, 8, 8, 4)
    with pytest.raises(ValueError, match="3 numbers, and the network has 2 axes"):
        net.divisor(dims=2)


def test_levels_and_strides_must_fit() -> None:
    with pytest.raises(ValidationError, match="3 levels have 2 strides"):
        Unet(channels=(4, 8, 16), strides=(2,))
    with pytest.raises(ValidationError):
        Unet(channels=(4,))
