"""Probabilities and entropy against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import entr, expit, softmax  # noqa: TID253

from medseg.inference.probabilities import Activation, entropy, first_label, probabilities


def logits(channels: int = 6, scale: float = 4.0) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0, scale, (channels, 7, 5, 3)).astype(np.float32)


def test_probabilities_equal_scipys() -> None:
    scores = logits()
    before = scores.copy()
    soft = probabilities(scores, kind="logits", activation="softmax")
    assert soft == pytest.approx(softmax(scores.astype(float), axis=0), abs=1e-6)
    each = probabilities(scores, kind="logits", activation="sigmoid")
    assert each == pytest.approx(expit(scores.astype(float)), abs=1e-6)
    assert np.array_equal(scores, before)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_huge_logits_give_certainty_and_no_warning(activation: Activation) -> None:
    scores = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    shares = probabilities(scores, kind="logits", activation=activation)
    assert np.array_equal(shares, [[1, 0], [0, 1]])
    assert np.array_equal(entropy(scores, kind="logits", activation=activation), [0, 0])


def test_probabilities_stay_what_they_are() -> None:
    shares = np.full((4, 2), 0.25, np.float32)
    assert probabilities(shares, kind="probabilities", activation="softmax") is shares
    assert entropy(shares, kind="probabilities", activation="softmax") == pytest.approx([np.log(4)] * 2)


@pytest.mark.parametrize("channels", [2, 3, 25, 118])
def test_entropy_of_equal_scores_is_the_logarithm_of_their_number(channels: int) -> None:
    scores = np.full((channels, 3, 2, 1), -7.5, np.float32)
    found = entropy(scores, kind="logits", activation="softmax")
    assert found == pytest.approx(np.full((3, 2, 1), np.log(channels)), rel=5e-6)
    zeros = np.zeros((channels, 3, 2, 1), np.float32)
    found = entropy(zeros, kind="logits", activation="sigmoid")
    assert found == pytest.approx(np.full((3, 2, 1), channels * np.log(2)), rel=5e-6)


def test_entropy_equals_scipys() -> None:
    scores = logits()
    exact = softmax(scores.astype(float), axis=0)
    found = entropy(scores, kind="logits", activation="softmax")
    assert found == pytest.approx(entr(exact).sum(axis=0), abs=2e-6)
    exact = expit(scores.astype(float))
    found = entropy(scores, kind="logits", activation="sigmoid")
    assert found == pytest.approx((entr(exact) + entr(1 - exact)).sum(axis=0), abs=1e-5)


def test_the_background_is_no_label() -> None:
    assert (first_label("softmax"), first_label("sigmoid")) == (1, 0)
