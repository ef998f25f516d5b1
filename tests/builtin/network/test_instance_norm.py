"""Normalisation and activation in one: the numbers and gradients of PyTorch's own two."""

import copy

import pytest
import torch  # noqa: TID253
from monai.networks.nets.dynunet import DynUNet  # noqa: TID253
from torch import nn  # noqa: TID253

from medseg.builtin.network.instance_norm import InstanceNormLeakyReLU, join_activations

SLOPE = 0.01


def pair(dims: int, channels: int) -> tuple[nn.Sequential, InstanceNormLeakyReLU]:
    """PyTorch's two layers, and one with the same parameters, away from where they start."""
    norm = (nn.InstanceNorm2d, nn.InstanceNorm3d)[dims - 2](channels, affine=True)
    with torch.no_grad():
        norm.weight.uniform_(-1.5, 1.5)
        norm.bias.normal_()
    return nn.Sequential(norm, nn.LeakyReLU(SLOPE)), InstanceNormLeakyReLU(copy.deepcopy(norm), SLOPE)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("dims", [2, 3])
def test_values_and_gradients_are_those_of_the_two_layers(dims: int, last: bool) -> None:
    torch.manual_seed(dims)
    two, one = pair(dims, 5)
    layout = (torch.channels_last, torch.channels_last_3d)[dims - 2] if last else torch.contiguous_format
    x = (torch.randn(3, 5, *(6, 7, 4)[:dims]) * 3 + 1).contiguous(memory_format=layout)
    along = torch.randn_like(x)
    found = []
    for module in (two, one):
        given = x.clone().requires_grad_()
        out = module(given)
        (out * along).sum().backward()
        found.append((out.detach(), given.grad, *(p.grad for p in module.parameters())))
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert found[1][0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(one(x), two(x))  # without gradients


def test_gradients_are_those_of_differences() -> None:
    """In single precision, as it is used, along random directions."""
    torch.manual_seed(0)
    _, one = pair(2, 2)
    x = torch.randn(2, 2, 5, 6, requires_grad=True)
    along = torch.randn_like(x)
    one(x).mul(along).sum().backward()
    assert x.grad is not None
    for _ in range(5):
        step = torch.randn_like(x) * 1e-2
        with torch.no_grad():
            difference = (one(x + step) - one(x - step)).mul(along).sum()
        torch.testing.assert_close(2 * (x.grad * step).sum(), difference, rtol=0.05, atol=2e-3)


def test_noncontiguous_features_and_gradients() -> None:
    two, one = pair(3, 4)
    x = torch.randn(2, 6, 7, 5, 4).permute(0, 4, 1, 2, 3)
    grads = []
    for module in (two, one):
        given = x.clone().requires_grad_()
        module(given)[:, 1:3].square().sum().backward()
        grads.append(given.grad)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-5, atol=1e-5)


def test_a_network_learns_the_same_under_the_same_names() -> None:
    torch.manual_seed(0)
    theirs = DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 8])
    ours = join_activations(copy.deepcopy(theirs))
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert sum(isinstance(part, InstanceNormLeakyReLU) for part in ours.modules()) > 8
    assert not any(isinstance(part, nn.LeakyReLU) for part in ours.modules())
    images = torch.randn(2, 1, 16, 24)
    for module in (theirs, ours):
        module(images).square().mean().backward()
    for wanted, got in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert wanted.grad is not None
        torch.testing.assert_close(got.grad, wanted.grad, rtol=1e-4, atol=1e-6)


def test_residual_blocks_stay_as_they_are() -> None:
    """They add before they activate."""
    network = DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 8], res_block=True)
    join_activations(network)
    encoder = [*network.input_block.modules(), *network.downsamples.modules()]
    assert not any(isinstance(part, InstanceNormLeakyReLU) for part in encoder)
