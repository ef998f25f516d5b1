"""A network whose logits are known to the last bit without running it: whole numbers, made of voxel values.

The same numbers come out of PyTorch and of NumPy, whatever the batch: images hold whole numbers below 2^23,
and all numbers that are not whole are exact in single precision. Engines that compute whole numbers in single
precision give others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["KINDS", "Kind", "KnownNetwork", "image", "known_logits"]

Kind = Literal["spread", "ties", "unanimous"]
KINDS: tuple[Kind, ...] = ("spread", "ties", "unanimous")
STEP = 1 << 16  # values of an image: its region times this, plus noise below it
ULP = 2.0**-23  # the distance of neighbours in [1, 2)


class KnownNetwork(Network):
    """Gives logits of one of three kinds.

    spread: far apart, and of each place in the window their own, as near the border of real windows. ties:
    1, or one or two of the last bit more, of each place their own: nearly all are ties. unanimous: the
    region's channel is one last bit above all others, and equal in all windows: within a region all voxels
    agree, by the smallest margin there is. What decides a cell by its corners fails here, as low + share *
    (high - low) may round either way.
    """

    kind: Kind
    """Which."""

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """Any patch will do."""
        return (1,) * dims

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """A module with one weight, which is 1."""
        import torch

        kind = self.kind

        class Known(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one = torch.nn.Parameter(torch.ones(1))

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                value = images[:, :1].abs().to(torch.int64)  # engines differ in what is left of less than 0
                channel = torch.arange(outputs, device=images.device).reshape(1, -1, 1, 1, 1)
                shape = images.shape[2:]
                count = shape[0] * shape[1] * shape[2]
                place = torch.arange(count, device=images.device).reshape(1, 1, *shape)
                logits: torch.Tensor = _formula(kind, value, channel, place, outputs).to(torch.float32)
                return logits * self.one

        return Known()


def known_logits(kind: Kind, outputs: int, images: NDArray[Any]) -> NDArray[np.float32]:
    """The same logits `[N, outputs, *patch]` of windows `[N, 1, *patch]`, by NumPy."""
    value = np.abs(images[:, :1]).astype(np.int64)
    channel = np.arange(outputs).reshape(1, -1, 1, 1, 1)
    place = np.arange(images[0, 0].size).reshape(1, 1, *images.shape[2:])
    return np.asarray(_formula(kind, value, channel, place, outputs), np.float32)


def _formula(kind: Kind, value: Any, channel: Any, place: Any, outputs: int) -> Any:
    """Whole numbers in, numbers that single precision holds out; of tensors or arrays alike."""
    if kind == "unanimous":
        return 1 + (value % STEP) / STEP + (value // STEP % outputs == channel) * ULP
    mixed = (value * 31 + place * 7 + channel * 1009) % 46337 * 46307 % 46349  # all below 2^31
    return mixed % 4096 / 512 - 4 if kind == "spread" else 1 + mixed % 3 * ULP


def image(shape: tuple[int, ...], regions: int, *, block: int = 5, seed: int = 0) -> NDArray[np.float32]:
    """An image for such a network: cubes of one region each, `block` voxels wide, with noise in them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, min(regions, 127), [-(-n // block) for n in shape])
    for axis, size in enumerate(shape):
        coarse = coarse.repeat(block, axis).take(range(size), axis)
    return np.asarray(coarse * STEP + random.integers(0, STEP, shape), np.float32)
