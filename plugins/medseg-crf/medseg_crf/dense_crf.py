"""The refiner `dense-crf`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError
from medseg.prediction import Scores
from medseg.steps import Refiner
from medseg.volume import Volume
from medseg_crf.field import FieldParameters, improved, margin_mm, work_bytes

__all__ = ["DenseCrf"]

SURE = 1e-9  # a probability is never taken to be more certain


class DenseCrf(FieldParameters, Refiner):
    """Make scores agree with those of their neighbours, above all where the image looks alike.

    A fully connected pairwise field over the voxels of a box, by mean field (Krähenbühl and Koltun, NIPS
    2011): two kernels, one of distance, one of distance and intensity. With the head softmax all labels and
    the background compete; with sigmoid each label is a field by itself.
    """

    @property
    def margin_mm(self) -> float:
        """Two standard deviations of the wider kernel."""
        return margin_mm(self)

    def __call__(self, scores: Scores, volume: Volume) -> Scores:
        """The field's logits."""
        return self._refined(scores, volume, device="cpu")

    def on(self, device: str) -> Callable[[Scores, Volume], Scores]:
        """The field in the memory of a GPU, if it is computed by PyTorch."""
        return self if self.backend == "pydensecrf" else partial(self._refined, device=device)

    def _refined(self, scores: Scores, volume: Volume, *, device: str) -> Scores:
        if scores.activation is None:
            raise UsageError("dense-crf needs scores that can be made probabilities: heads softmax, sigmoid")
        exclusive = scores.activation == "softmax"
        logits = _logits(scores, exclusive=exclusive)
        better = improved(self, logits, volume, exclusive=exclusive, step="dense-crf", device=device)
        return Scores(better, scores.grid, "logits", scores.activation)

    def work_bytes(self, scores: Scores, volume: Volume) -> int:
        """The field's state, with the scores once more."""
        return work_bytes(self, len(scores.array), scores.grid) + 4 * scores.array.size


def _logits(scores: Scores, *, exclusive: bool) -> NDArray[np.float32]:
    """What the field begins with."""
    array = np.asarray(scores.array, np.float32)
    if scores.kind == "logits":
        return array
    shares = array.clip(SURE, 1)
    found: NDArray[np.float32] = np.log(shares)
    return found if exclusive else found - np.log((1 - array).clip(SURE, 1))
