"""The networks of the benchmarks: plain PyTorch, so that medseg and its peers can be handed the same one.

python -m benchmarks.peers.nets light 25 light-25.safetensors   # its random weights, the same every time
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - a benchmark
from torch import nn  # noqa: TID253

__all__ = ["FEATURES", "UNet", "gflop", "load", "save"]

FEATURES = {
    "micro": (4, 8, 16),  # so cheap that what is not network shows
    "light": (16, 32, 64, 128, 160, 160),
    "big": (32, 64, 128, 256, 320, 320),  # what nnU-Net plans for most CT data sets
}


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two convolutions of 3 x 3 x 3, each with instance normalisation and leaky ReLU."""
    layers: list[nn.Module] = []
    for taken, step in ((inputs, stride), (outputs, 1)):
        layers += [
            nn.Conv3d(taken, outputs, 3, step, padding=1),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """nnU-Net's plain U-Net: strided convolutions down, transposed ones up, skip connections, one head."""

    def __init__(self, features: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        wider = list(pairwise(features))
        self.first = block(1, features[0], 1)
        self.down = nn.ModuleList(block(above, below, 2) for above, below in wider)
        self.up = nn.ModuleList(nn.ConvTranspose3d(below, above, 2, 2) for above, below in reversed(wider))
        self.join = nn.ModuleList(block(2 * above, above, 1) for above, _ in reversed(wider))
        self.head = nn.Conv3d(features[0], outputs, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `[N, outputs, *patch]` of windows `[N, 1, *patch]`."""
        levels = [self.first(images)]
        for step in self.down:
            levels.append(step(levels[-1]))
        found = levels.pop()
        for up, join in zip(self.up, self.join, strict=True):
            found = join(torch.cat([up(found), levels.pop()], dim=1))
        logits: torch.Tensor = self.head(found)
        return logits


def save(net: str, outputs: int, path: Path) -> None:
    """Write random weights that are the same every time; activations keep their spread."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    module = UNet(FEATURES[net], outputs)
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(layer.weight, 0.01)
    save_file(module.state_dict(), path)


def load(net: str, outputs: int, path: Path) -> UNet:
    """The network with the weights of a file, ready for use."""
    from safetensors.torch import load_file

    module = UNet(FEATURES[net], outputs)
    module.load_state_dict(load_file(path))
    return module.eval()


def gflop(net: str, outputs: int, patch: tuple[int, ...]) -> float:
    """Multiplications and additions of all convolutions for one window, in 10^9, counted by a hook."""
    total = 0

    def count(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        many = inputs[0] if isinstance(layer, nn.ConvTranspose3d) else output  # each voxel of this one is
        kernel = layer.weight.numel() // (layer.in_channels * layer.out_channels)  # met by the whole kernel
        total += 2 * many[0, 0].numel() * layer.in_channels * layer.out_channels * kernel

    with torch.device("meta"), torch.inference_mode():
        module = UNet(FEATURES[net], outputs)
        for layer in module.modules():
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                layer.register_forward_hook(count)
        module(torch.empty(1, 1, *patch))
    return total / 1e9


if __name__ == "__main__":
    save(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
