"""What training makes small."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from medseg.segmentation import Segmentation
from medseg.steps.head import Head
from medseg.steps.step import Step

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Loss"]


class Loss(Step, ABC):
    """Builds what tells how far a network's output is from what it should be; parameters only.

    The module that `build` gives is called for each batch and each scale of the output as

        module(logits, target, valid, maps) -> a scalar

    with `logits[N, C, *patch]` as the network gave them, `target[N, C, *patch]` as the head's `target` means
    it (probabilities, float32), `valid[N, 1, *patch]` 1 where the reference is known and 0 where it is to be
    ignored, and `maps`, what `prepare` made, by its keys, each `[N, K, *patch]`. It is the mean over the
    samples of the batch of what each sample would give alone, so that it does not matter over how many
    devices a batch is spread.
    """

    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        """Maps `[K, i, j, k]` of a whole case, on the grid of `segmentation`, by names of this loss's own.

        Made once for each case, kept beside it, and read with each patch, linearly where it is turned or
        scaled. For what a patch cannot tell, as the distance in mm to a border outside it. `valid[i, j, k]`
        is where the reference is known, None where it is everywhere: what `segmentation` says elsewhere, it
        does not say.
        """
        return {}

    @abstractmethod
    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> torch.nn.Module:
        """Give the module, for a network of so many `channels`, those that the head asks for.

        `spacing` is that of the patch's voxels in mm, one number per axis, at the full resolution; coarser
        outputs of a network, if it has any, get the same module.

        It is built once before anything is read, with voxels of 1 mm, to learn whether it can be. Raises
        PipelineError where the loss does not suit the head, as one for channels that exclude each other does
        not suit `sigmoid`, or the number of channels.
        """
