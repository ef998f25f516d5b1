"""How much memory a network's activations take, found out without running it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["activation_bytes"]

BUFFERS = 2  # copies of the largest activation that a convolution needs to reorder what it reads and writes


def activation_bytes(build: Callable[[], torch.nn.Module], shape: Sequence[int]) -> int | None:
    """Highest sum of activations alive at once for one input `[N, C, *patch]` of this shape, in bytes.

    The network is built and run on PyTorch's meta device, where tensors have a shape and no memory, and the
    lifetime of what its modules return is followed. An estimate: what lives within a module is taken as two
    copies of the largest activation. None where the network cannot run there.
    """
    import torch

    alive: dict[int, int] = {}
    peak = largest = 0

    def count(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        nonlocal peak, largest
        if not isinstance(output, torch.Tensor) or id(output) in alive:
            return  # a container that hands on what its last layer gave, or a layer that works in place
        size = output.numel() * output.element_size()
        alive[id(output)] = size
        weakref.finalize(output, alive.pop, id(output), None)
        peak, largest = max(peak, sum(alive.values())), max(largest, size)

    try:
        with torch.device("meta"), torch.inference_mode():
            network = build().eval()
            for module in network.modules():
                module.register_forward_hook(count)
            network(torch.empty(list(shape)))
    except RuntimeError:  # an operation without a meta form, or control flow that looks at values
        return None
    return peak + BUFFERS * largest
