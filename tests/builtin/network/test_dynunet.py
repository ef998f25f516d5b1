from typing import Literal

import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.network.dynunet import DynUnet


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_logits_have_the_size_of_the_patch(dims: Literal[2, 3], residual: bool) -> None:
    net = DynUnet(channels=(4, 8, 16), residual=residual)
    assert net.divisor(dims=dims) == (4,) * dims
    module = net.build(dims=dims, inputs=1, outputs=3).eval()
    patch = [8, 12, 16][:dims]
    with torch.inference_mode():
        assert list(module(torch.zeros(1, 1, *patch)).shape) == [1, 3, *patch]


def test_thick_slices_keep_their_resolution_longer() -> None:
    net = DynUnet(channels=(4, 8, 16), strides=((2, 2, 1), 2), kernels=((3, 3, 1), 3, 3))
    assert net.divisor(dims=3) == (4, 4, 2)
    module = net.build(dims=3, inputs=1, outputs=2).eval()
    with torch.inference_mode():
        assert module(torch.zeros(1, 1, 8, 8, 4)).shape == (1, 2, 8, 8, 4)


def test_levels_strides_and_kernels_must_fit() -> None:
    with pytest.raises(ValidationError, match="3 levels have 2 strides"):
        DynUnet(channels=(4, 8, 16), strides=(2, 2, 2))
    with pytest.raises(ValidationError, match="3 levels have 3 kernels"):
        DynUnet(channels=(4, 8, 16), kernels=(3,))
