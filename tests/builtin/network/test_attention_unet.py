from typing import Literal

import pytest
import torch  # noqa: TID253

from medseg.builtin.network.attention_unet import AttentionUnet


@pytest.mark.parametrize("dims", [2, 3])
def test_logits_have_the_size_of_the_patch(dims: Literal[2, 3]) -> None:
    net = AttentionUnet(channels=(4, 8, 16))
    assert net.divisor(dims=dims) == (4,) * dims
    module = net.build(dims=dims, inputs=1, outputs=3).eval()
    patch = [8, 12, 16][:dims]
    with torch.inference_mode():
        assert list(module(torch.zeros(2, 1, *patch)).shape) == [2, 3, *patch]


def test_its_gates_have_weights() -> None:
    module = AttentionUnet(channels=(4, 8)).build(dims=2, inputs=1, outputs=2)
    assert any("psi" in name for name, _ in module.named_parameters())
