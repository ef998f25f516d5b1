"""Whether probabilities mean what they say: temperature scaling on held-out cases, and what is gained by it.

A network is as a rule too sure of itself. Its logits are divided by one number, the temperature, for which
held-out voxels are most likely (Guo et al., On calibration of modern neural networks, ICML 2017, 1321-1330).
No label changes by it: the largest logit stays the largest, and the sign of each stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.extent import margin_voxels
from medseg.inference.refining import Part
from medseg.inference.score_store import ScoreStore, covered
from medseg.prediction import Scores
from medseg.reliability import brier_score, expected_calibration_error
from medseg.segmentation import Segmentation
from medseg.volume import Grid

__all__ = [
    "Calibration",
    "Sample",
    "about",
    "brier",
    "calibrated",
    "calibration_error",
    "joined",
    "sampled",
    "tempered",
]

Activation = Literal["softmax", "sigmoid"]
Floats = NDArray[np.float64]

MARGIN_MM = 10.0
MOST_VOXELS = 20_000  # of a case
MOST_VALUES = 1_000_000  # of a case, whatever the number of labels
AT_ONCE_BYTES = 64 << 20
COLDEST, WARMEST = 0.05, 20.0
LEAST_PROBABILITY = 1e-12  # of a single voxel that contradicts a network, to have a logarithm


@dataclass(frozen=True)
class Sample:
    """Voxels of held-out cases: `logits[N, C]` as the network gave them, and what is `there[N, C]`.

    With softmax the channels are the background and the labels, and one of them is there; with sigmoid each
    is a label that is there or not.
    """

    logits: Floats
    there: NDArray[np.bool_]
    activation: Activation

    @property
    def probabilities(self) -> Floats:
        """`[N, C]`, from 0 to 1."""
        if self.activation == "sigmoid":
            return 0.5 * (1 + np.tanh(0.5 * self.logits))
        exponents = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        shares: Floats = exponents / exponents.sum(axis=1, keepdims=True)
        return shares

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all; logits in half precision, as they were kept."""
        partial = path.with_name(f".{path.name}.part")
        with partial.open("wb") as file:
            np.savez_compressed(file, logits=self.logits.astype(np.float16), there=self.there)
        partial.replace(path)

    @staticmethod
    def load(path: Path, activation: Activation) -> Sample:
        """Read it from a file."""
        with np.load(path, allow_pickle=False) as kept:
            return Sample(kept["logits"].astype(np.float64), kept["there"], activation)


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the expected calibration error and Brier score with it and without.

    `before` and `after` are (error, score). With several folds, `after` is measured on each with the
    temperature of the others (`crossed`); with one, on the voxels that the temperature was fitted to.
    """

    temperature: float
    before: tuple[float, float]
    after: tuple[float, float]
    voxels: int
    crossed: bool


def about(reference: Segmentation) -> Grid | None:
    """The box around all labels with a margin of 10 mm (or px), on the reference's grid; None without any.

    Most of an image is background that every network is sure of: counted in, it hides everything else.
    """
    grid = reference.grid
    part = Part.around(np.any(reference.array, axis=0), grid)
    return None if part is None else part.grown(margin_voxels(grid, MARGIN_MM), grid).grid(grid)


def sampled(
    logits: ScoreStore,
    box: Grid,
    reference: Segmentation,
    *,
    activation: Activation,
    known: NDArray[np.bool_] | None,
    rng: np.random.Generator,
) -> Sample:
    """Voxels of a box drawn at random, each with the labels of the nearest voxel of the reference.

    `logits` has all channels of the head. `known[i, j, k]` is where the reference says something.
    """
    part = Part.of(*covered(logits.grid, box), logits.grid)
    assert part is not None  # the model sees where the labels are
    length = part.shape[part.longest]
    thick = max(1, AT_ONCE_BYTES * length // (4 * logits.count * math.prod(part.shape)))
    wanted = min(MOST_VOXELS, MOST_VALUES // logits.count)
    samples = []
    for slab in part.slabs(part.longest, thick):
        scores, count = logits.part(slab.low, slab.high), -(-wanted * slab.shape[part.longest] // length)
        samples.append(_drawn(scores, reference, activation, known, count=count, rng=rng))
    return joined(samples)


def _drawn(
    scores: Scores,
    reference: Segmentation,
    activation: Activation,
    known: NDArray[np.bool_] | None,
    *,
    count: int,
    rng: np.random.Generator,
) -> Sample:
    shape = scores.grid.shape
    voxels = math.prod(shape)
    chosen = rng.choice(voxels, min(voxels, count), replace=False)
    index = np.stack(np.unravel_index(np.sort(chosen), shape), axis=-1)
    native = np.rint(reference.grid.to_index(scores.grid.to_world(index))).astype(np.int64)
    inside = np.flatnonzero(((native >= 0) & (native < reference.grid.shape)).all(axis=1))
    if known is not None:
        inside = inside[known[tuple(native[inside].T)]]
    logits = scores.array[(slice(None), *index[inside].T)].T.astype(np.float64)
    at = tuple(native[inside].T)
    there = np.stack([reference.mask(label.name)[at] for label in reference.labels], axis=1)
    if activation == "softmax":
        there = np.concatenate([~there.any(axis=1, keepdims=True), there], axis=1)
    return Sample(logits, there, activation)


def calibrated(folds: Sequence[Sample]) -> Calibration | None:
    """The temperature of all folds' voxels together; None where there are none."""
    folds = [fold for fold in folds if len(fold.there)]
    if not folds:
        return None
    whole = joined(folds)
    temperature = _fitted(whole)
    if len(folds) == 1:
        after = tempered(whole, temperature)
    else:
        after = joined(
            [tempered(fold, _fitted(joined([o for o in folds if o is not fold]))) for fold in folds]
        )
    return Calibration(
        temperature,
        (calibration_error(whole), brier(whole)),
        (calibration_error(after), brier(after)),
        len(whole.there),
        crossed=len(folds) > 1,
    )


def joined(samples: Sequence[Sample]) -> Sample:
    """All voxels of some samples, of which there is at least one."""
    return Sample(
        np.concatenate([sample.logits for sample in samples]),
        np.concatenate([sample.there for sample in samples]),
        samples[0].activation,
    )


def tempered(sample: Sample, temperature: float) -> Sample:
    """The sample with its logits divided by a temperature."""
    return Sample(sample.logits / temperature, sample.there, sample.activation)


def _fitted(sample: Sample) -> float:
    """The temperature with the highest likelihood; the likelihood has one maximum in its inverse."""
    from scipy.optimize import minimize_scalar

    def surprise(log_temperature: float) -> float:
        shares = tempered(sample, float(np.exp(log_temperature))).probabilities
        told = np.where(sample.there, shares, 1 - shares)
        if sample.activation == "softmax":
            told = told[sample.there]
        return float(-np.log(np.maximum(told, LEAST_PROBABILITY)).mean())

    bounds = (float(np.log(COLDEST)), float(np.log(WARMEST)))
    return float(np.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x))


def calibration_error(sample: Sample) -> float:
    """Expected calibration error: how far, on average, a probability is from how often it comes true.

    Of the winning channel with softmax; with sigmoid, of each label's decision. In bins weighted by how many
    voxels are in them, as in `medseg.reliability`; the metric `ece` has the same of a label's probability.
    """
    if sample.activation == "softmax":
        winner = sample.probabilities.argmax(axis=1)
        rows = np.arange(len(winner))
        sure, right = sample.probabilities[rows, winner], sample.there[rows, winner]
    else:
        found = sample.probabilities >= 0.5
        sure = np.where(found, sample.probabilities, 1 - sample.probabilities)
        right = found == sample.there
    return expected_calibration_error(sure, right)


def brier(sample: Sample) -> float:
    """Brier score: the mean squared distance of probabilities from what is there, summed over channels."""
    return int(sample.there.shape[1]) * brier_score(sample.probabilities, sample.there)
