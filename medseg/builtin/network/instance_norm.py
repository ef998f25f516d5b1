"""Instance normalisation and leaky ReLU as one operation of training on a CPU."""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - imported when such a network is built
from monai.networks.blocks.dynunet_block import UnetBasicBlock  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

__all__ = ["InstanceNormLeakyReLU", "join_activations"]

aten = torch.ops.aten


def join_activations(network: nn.Module) -> nn.Module:
    """Let the basic blocks of a MONAI DynUNet normalise and activate in one operation; gives the network.

    Names and values of its weights stay as they are, and so does what it computes.
    """
    for block in network.modules():
        if not isinstance(block, UnetBasicBlock) or not isinstance(block.lrelu, nn.LeakyReLU):
            continue
        for name in ("norm1", "norm2"):
            norm = getattr(block, name)
            if isinstance(norm, nn.InstanceNorm2d | nn.InstanceNorm3d):
                setattr(block, name, InstanceNormLeakyReLU(norm, block.lrelu.negative_slope))
        block.lrelu = nn.Identity()
    return network


class InstanceNormLeakyReLU(nn.Module):
    """Instance normalisation followed by leaky ReLU, with the parameters of the normalisation.

    PyTorch computes a batch normalisation on a view and an activation in place on that view, and copies the
    gradient twice on its way back. Here it goes through the two operations without a copy, and only their
    input and output are kept for it: the output's sign says which side of the activation it is on.
    """

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d, slope: float) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.eps, self.slope = norm.eps, slope

    def forward(self, x: Tensor) -> Tensor:
        """Features `[N, C, *size]`, of the same shape."""
        if (
            torch.is_grad_enabled()
            and x.requires_grad
            and x.device.type == "cpu"
            and x.dtype == torch.float32
        ):
            joined: Tensor = _Joined.apply(x, self.weight, self.bias, self.eps, self.slope)  # type: ignore[no-untyped-call]
            return joined
        normalised = nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return nn.functional.leaky_relu_(normalised, self.slope)


class _Joined(torch.autograd.Function):
    """The operation and its gradient, of what PyTorch uses for each of the two.

    Each case is a batch of its own to a batch normalisation. That keeps the channels last where they are,
    which PyTorch's instance normalisation does not.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
        out = torch.empty_like(x)
        mean, inverse_sd = (x.new_empty(x.shape[:2]) for _ in range(2))
        for n in range(len(x)):
            aten.native_batch_norm.out(
                x[n : n + 1],
                weight,
                bias,
                None,
                None,
                True,
                0.0,
                eps,
                out=out[n : n + 1],
                save_mean=mean[n],
                save_invstd=inverse_sd[n],
            )
        nn.functional.leaky_relu_(out, slope)
        ctx.save_for_backward(x, weight, mean, inverse_sd, out)
        ctx.eps, ctx.slope = eps, slope
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, inverse_sd, out = ctx.saved_tensors
        within = torch.empty_like(x)
        aten.leaky_relu_backward.grad_input(gradient, out, ctx.slope, True, grad_input=within)
        of_x = torch.empty_like(x)
        of_weight, of_bias = torch.empty_like(mean), torch.empty_like(mean)
        for n in range(len(x)):
            aten.native_batch_norm_backward.out(
                within[n : n + 1],
                x[n : n + 1],
                weight,
                None,
                None,
                mean[n],
                inverse_sd[n],
                True,
                ctx.eps,
                [True, True, True],
                out0=of_x[n : n + 1],
                out1=of_weight[n],
                out2=of_bias[n],
            )
        return of_x, of_weight.sum(0), of_bias.sum(0), None, None
