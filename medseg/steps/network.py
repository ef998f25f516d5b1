"""Architectures: what builds a `torch.nn.Module`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from medseg.steps.step import Step

if TYPE_CHECKING:
    import torch

__all__ = ["Network"]


class Network(Step, ABC):
    """Builds a network of one architecture; parameters only, weights are loaded into what it builds."""

    @abstractmethod
    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """Give an untrained module that takes `[N, inputs, *patch]` and gives logits `[N, outputs, *patch]`.

        In training mode it may give a list of logits, the full resolution first.
        """

    @property
    def channels_last(self) -> bool:
        """Whether a processor trains it faster with channels as the innermost axis in memory.

        Convolutions are, and PyTorch's instance normalisation is not. Shapes and numbers are the same.
        """
        return False

    @abstractmethod
    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """What each side of a patch must be a multiple of, in voxels."""
