"""What every engine is to those who call it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Engine", "Floats", "Missed"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Missed:
    """The engine that should have been taken and whose graph cannot be made within the limit on memory.

    `total_bytes` of the whole process would be enough to make it; `extra_bytes` is what it then holds more
    than PyTorch does. `by_name` says that it was asked for, so that another one must not take its place.
    """

    engine: str
    total_bytes: int
    extra_bytes: int
    by_name: bool = False


class Engine(ABC):
    """A network ready to compute windows; one call at a time, from any thread.

    `pass_bytes` is an estimate of what a pass over a full batch takes, made only where memory has a limit,
    which the first pass must not exceed either. `notes` say, in words, what was not as it should be; `missed`
    is the engine that this one stands for, for lack of memory.
    """

    name: Literal["torch", "openvino", "onnx"]
    device: str
    precision: str
    pass_bytes: int = 0
    notes: tuple[str, ...] = ()
    missed: Missed | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU, and has `infer`."""
        return self.device.startswith("cuda")

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """The same of windows that lie on the GPU, where the logits stay, of whatever floating type."""
        raise TypeError(f"engine {self.name} runs on {self.device}, not on a GPU")

    @abstractmethod
    def __call__(self, images: Floats) -> Floats:
        """Logits `[N, K, *patch]` of windows `[N, C, *patch]`, N at most the batch; the caller may keep them.

        Raises ResourceError or MemoryError where memory runs out.
        """
