"""What every engine is to those who call it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "Floats"]

Floats = NDArray[np.float32]


class Engine(ABC):
    """A network ready to compute windows; one call at a time, from any thread.

    `memory_bytes` is an estimate of what it takes at work: its weights, the activations of a full batch, the
    library; `resident_bytes` is the part of it that is there already once it is open. `notes` say, in words,
    what was not as it should be.
    """

    name: Literal["torch", "openvino", "onnx"]
    device: str
    precision: str
    memory_bytes: int
    resident_bytes: int
    notes: tuple[str, ...] = ()

    @abstractmethod
    def __call__(self, images: Floats) -> Floats:
        """Logits `[N, K, *patch]` of windows `[N, C, *patch]`, N at most the batch; the caller may keep them.

        Raises ResourceError or MemoryError where memory runs out.
        """
