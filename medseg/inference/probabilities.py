"""Probabilities and their entropy from a network's scores."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Activation", "Kind", "entropy", "first_label", "probabilities"]

Activation = Literal["softmax", "sigmoid"]
Kind = Literal["logits", "probabilities"]
Floats = NDArray[np.float32]


def first_label(activation: Activation) -> int:
    """The channel of the first label: with softmax, channel 0 is the background."""
    return 1 if activation == "softmax" else 0


def probabilities(scores: Floats, *, kind: Kind, activation: Activation) -> Floats:
    """Scores `[C, ...]` as probabilities: over the channels with softmax, each for itself with sigmoid."""
    if kind == "probabilities":
        return scores
    if activation == "softmax":
        shares: Floats = scores - scores.max(axis=0)
        np.exp(shares, out=shares)
        shares /= shares.sum(axis=0)
        return shares
    # 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2, which overflows nowhere
    shares = np.tanh(scores * np.float32(0.5))
    shares += 1
    shares *= np.float32(0.5)
    return shares


def entropy(scores: Floats, *, kind: Kind, activation: Activation) -> Floats:
    """Shannon entropy in nats of each voxel of `scores[C, ...]`, 0 where the network is sure.

    With softmax at most ln C. With sigmoid the sum over the labels, as of decisions that do not depend on
    each other: at most C ln 2.
    """
    shares = probabilities(scores, kind=kind, activation=activation)
    total = _information(shares)
    if activation == "sigmoid":
        total += _information(1 - shares)
    return total


def _information(shares: Floats) -> Floats:
    """Sum of -p ln p over the first axis; 0 for p = 0, its limit."""
    logarithms = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    logarithms *= shares
    total: Floats = np.maximum(-logarithms.sum(axis=0), np.float32(0))  # -0.0 and rounding where p is 1
    return total
