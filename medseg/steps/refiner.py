"""Steps between the network and its labels: scores on the model grid in, scores out."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medseg.errors import PluginError
from medseg.prediction import Scores
from medseg.steps.step import Step
from medseg.volume import Volume

__all__ = ["Refiner"]

COPIES = 4  # of the scores, in single precision


class Refiner(Step, ABC):
    """Improves scores before they are decided, box by box on the grid that the network saw.

    What it gets is a box of the network's scores, all channels of them, and the same box of the image as it
    was preprocessed. `scores.activation` says what makes probabilities of logits: with "softmax" channel 0 is
    the background and the others are the labels in order of value; with "sigmoid" each channel is a label by
    itself.
    """

    @property
    def margin_mm(self) -> float:
        """How far it looks: voxels nearer than this to the edge of a box are only looked at, and not kept.

        Labels can grow by so much, too: boxes go so far beyond the labels that the network found.
        """
        return 0.0

    @abstractmethod
    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        """Return new scores of the same channels on the same grid; both arguments' arrays are read-only."""

    def on(self, device: str) -> Callable[[Scores, Volume], Scores]:
        """What does the same work on a device, "cuda:0" say: by default itself, on the processor.

        Override it where a GPU is of use. It is asked for each box anew. Let PyTorch's errors pass: where the
        memory of the GPU runs out, the step itself is called instead, and `run.json` says so.
        """
        return self

    def work_bytes(self, scores: Scores, volume: Volume) -> int:
        """Memory it takes at most beside its input, told by shapes and types alone; boxes are made to fit.

        Four copies of the scores in single precision. Override it where a step takes more.
        """
        return COPIES * np.dtype(np.float32).itemsize * scores.array.size

    @staticmethod
    def check(returned: object, *, like: Scores) -> Scores:
        """Hold what came back against the contract; raises PluginError with what is wrong."""
        if not isinstance(returned, Scores):
            raise PluginError(f"returned {type(returned).__name__}, not Scores")
        if returned.array.shape != like.array.shape or not returned.grid.same_as(like.grid):
            raise PluginError(
                f"returned scores {returned.array.shape} on {returned.grid!r}, "
                f"not {like.array.shape} on {like.grid!r} as it got them"
            )
        if returned.array.dtype.kind != "f" or not np.isfinite(returned.array).all():
            raise PluginError("returned scores that are not all finite numbers with fractions")
        return replace(returned, activation=like.activation)
