from typing import Literal

import pytest
import torch  # noqa: TID253
from overfitting import dice_after
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
    with pytest.raises(ValidationError, match="3 levels have 1 outputs below the full resolution"):
        DynUnet(channels=(4, 8, 16), deep_supervision=2)


@pytest.mark.parametrize("residual", [False, True])
def test_coarser_outputs_are_heard_in_training_only(residual: bool) -> None:
    net = DynUnet(channels=(4, 8, 16, 16), residual=residual, deep_supervision=2)
    module = net.build(dims=2, inputs=1, outputs=3)
    images = torch.zeros(2, 1, 16, 24)
    assert [tuple(logits.shape) for logits in module.train()(images)] == [
        (2, 3, 16, 24),
        (2, 3, 8, 12),
        (2, 3, 4, 6),
    ]
    with torch.inference_mode():
        assert tuple(module.eval()(images).shape) == (2, 3, 16, 24)


def test_coarser_outputs_have_the_strides_of_their_level() -> None:
    net = DynUnet(channels=(4, 8, 16, 16), strides=((2, 2, 1), 2, 2), deep_supervision=2)
    outputs = net.build(dims=3, inputs=1, outputs=2).train()(torch.zeros(1, 1, 16, 16, 8))
    assert [tuple(logits.shape[2:]) for logits in outputs] == [(16, 16, 8), (8, 8, 8), (4, 4, 4)]


def test_what_the_network_gives_is_the_same_with_and_without_coarser_outputs() -> None:
    """The same names, the same weights from the same seed, the same logits in training and inference."""
    torch.manual_seed(0)
    plain = DynUnet(channels=(4, 8, 16, 16)).build(dims=3, inputs=2, outputs=3)
    torch.manual_seed(0)
    deep = DynUnet(channels=(4, 8, 16, 16), deep_supervision=2).build(dims=3, inputs=2, outputs=3)
    weights = deep.state_dict()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(weights.pop(name), tensor)
    assert {name.partition(".")[0] for name in weights} == {"supervision_heads"}
    images = torch.randn(1, 2, 8, 8, 16)
    with torch.inference_mode():
        logits = plain.eval()(images)
        assert torch.equal(deep.eval()(images), logits)
        torch.testing.assert_close(deep.train()(images)[0], logits)


def test_every_weight_is_trained() -> None:
    module = DynUnet(channels=(4, 8, 16, 16), deep_supervision=2).build(dims=2, inputs=1, outputs=2).train()
    sum(logits.square().mean() for logits in module(torch.randn(2, 1, 16, 16))).backward()
    assert all(weight.grad is not None for weight in module.parameters())


def test_inference_computes_no_coarser_output() -> None:
    module = DynUnet(channels=(4, 8, 16), deep_supervision=1).build(dims=2, inputs=1, outputs=2).eval()
    program = torch.export.export(module, (torch.zeros(1, 1, 16, 16),))
    (logits,) = program.graph_signature.user_outputs
    assert isinstance(logits, str)
    used = {node.target for node in program.graph.nodes if node.op == "placeholder" and node.users}
    assert not [name for name in used if "supervision" in str(name)]


def test_it_learns_one_image() -> None:
    torch.manual_seed(0)
    net = DynUnet(channels=(8, 16, 16), strides=((2, 2, 1), 2), deep_supervision=1)
    assert dice_after(net.build(dims=3, inputs=1, outputs=2), (16, 16, 8), steps=40) > 0.95
