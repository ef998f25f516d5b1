"""Temperatures that are known, calibration errors that can be counted, and where voxels are taken from."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.inference.score_store import ScoreSink
from medseg.prediction import Scores, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.training import calibration
from medseg.training.calibration import (
    Calibration,
    Sample,
    about,
    brier,
    calibrated,
    calibration_error,
    sampled,
    tempered,
)
from medseg.volume import Grid

LABELS = LabelTable((Label(1, "liver"), Label(2, "tumour")))


def softmax_sample(temperature: float, count: int, seed: int) -> Sample:
    """Voxels of a network whose logits are `temperature` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 3)) * 2
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    there = np.zeros((count, 3), bool)
    there[np.arange(count), [rng.choice(3, p=row) for row in truth]] = True
    return Sample(temperature * logits, there, "softmax")


def sigmoid_sample(temperature: float, count: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 2)) * 2
    there = rng.random((count, 2)) < 1 / (1 + np.exp(-logits))
    return Sample(temperature * logits, there, "sigmoid")


@pytest.mark.parametrize("make", [softmax_sample, sigmoid_sample])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(make: object, temperature: float) -> None:
    assert callable(make)
    folds = [make(temperature, 6000, seed) for seed in (1, 2, 3)]
    found = calibrated(folds)
    assert found is not None
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.after[0] < 0.02
    assert found.voxels == 18_000
    if temperature == 3.0:
        assert found.before[0] > 0.1
        assert found.after[1] < found.before[1]
    if temperature == 1.0:
        assert found.before[0] < 0.02


@pytest.mark.parametrize("make", [softmax_sample, sigmoid_sample])
def test_no_decision_changes(make: object) -> None:
    assert callable(make)
    sample = make(2.0, 500, 4)
    for temperature in (0.3, 7.0):
        found = tempered(sample, temperature).probabilities
        if sample.activation == "softmax":
            np.testing.assert_array_equal(found.argmax(1), sample.probabilities.argmax(1))
            np.testing.assert_allclose(found.sum(1), 1)
        else:
            np.testing.assert_array_equal(found >= 0.5, sample.probabilities >= 0.5)
    np.testing.assert_allclose(tempered(sample, 1.0).probabilities, sample.probabilities, atol=1e-6)


def test_probabilities_are_those_of_logits() -> None:
    logits = np.array([[1.0, -2.0, 0.5], [400.0, 4.0, -1000.0]])
    there = np.zeros((2, 3), bool)
    found = tempered(Sample(logits, there, "softmax"), 2.5).probabilities
    parts = np.exp([0.4, -0.8, 0.2])
    np.testing.assert_allclose(found, [parts / parts.sum(), [1, 0, 0]], atol=1e-12)
    alone = Sample(logits, there, "sigmoid").probabilities
    np.testing.assert_allclose(alone[0], 1 / (1 + np.exp(-logits[0])))
    np.testing.assert_array_equal(alone[1], [1, alone[1, 1], 0])


def test_a_network_that_is_far_too_sure_keeps_its_temperature_in_a_file(tmp_path: Path) -> None:
    """Half precision has no probability between 0.9998 and 1; of logits it has enough."""
    sample = softmax_sample(6.0, 20_000, 7)
    sample.save(tmp_path / "s.npz")
    found = calibrated([Sample.load(tmp_path / "s.npz", "softmax")])
    whole = calibrated([sample])
    assert found is not None
    assert whole is not None
    assert found.temperature == pytest.approx(whole.temperature, rel=2e-3)
    assert found.temperature == pytest.approx(6.0, rel=0.05)


def test_errors_that_can_be_counted() -> None:
    """Four voxels said to 0.9 of which three are right, four said to 0.6 of which two are."""
    shares = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 4)
    there = np.array([[True, False]] * 3 + [[False, True]] + [[True, False]] * 2 + [[False, True]] * 2)
    sample = Sample(np.log(shares), there, "softmax")
    assert calibration_error(sample) == pytest.approx(0.5 * 0.15 + 0.5 * 0.1)
    each = [2 * 0.1**2] * 3 + [2 * 0.9**2] + [2 * 0.4**2] * 2 + [2 * 0.6**2] * 2
    assert brier(sample) == pytest.approx(np.mean(each))
    certain = Sample(100.0 * there, there, "softmax")
    assert (calibration_error(certain), brier(certain)) == pytest.approx((0, 0))
    odds = np.log(shares[:, :1] / shares[:, 1:])
    decided = Sample(odds, there[:, :1], "sigmoid")
    assert calibration_error(decided) == pytest.approx(0.125)


def test_voxels_are_held_against_the_reference_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores on a grid of twice the spacing that runs the other way along i."""
    array = np.zeros((1, 8, 8, 8), np.uint8)
    array[0, :4] = 1
    array[0, :2] = 2
    reference = Segmentation(array, Grid((8, 8, 8), np.eye(4)), LABELS)
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (6.4, 0.4, 0.4)  # voxel centres lie nearest to 6, 4, 2, 0 and 0, 2, 4, 6
    grid = Grid((4, 4, 4), affine)
    logits = np.zeros((3, 4, 4, 4), np.float32)
    logits[0], logits[1, 2], logits[2, 3] = 1, 2, 3
    wanted = Wanted(whole_scores=True)
    sink = ScoreSink(LABELS, grid=grid, axis=2, channels=3, activation=None, wanted=wanted)
    sink.take(Scores(logits, grid, "logits"), 0)
    store = sink.finish()

    def drawn(known: NDArray[np.bool_] | None = None) -> Sample:
        rng = np.random.default_rng(0)
        box = reference.grid
        return sampled(store, box, reference, activation="softmax", known=known, rng=rng)

    found = drawn()
    assert found.there.shape == (64, 3)
    np.testing.assert_array_equal(found.there.sum(0), [32, 16, 16])
    np.testing.assert_array_equal(np.sort(found.logits[found.there]), [1] * 32 + [2] * 16 + [3] * 16)
    known = np.ones((8, 8, 8), bool)
    known[:2] = False
    part = drawn(known)
    np.testing.assert_array_equal(part.there.sum(0), [32, 16, 0])
    monkeypatch.setattr(calibration, "AT_ONCE_BYTES", 4 * 3 * 16 * 2)  # two planes at once
    assert len(drawn().there) == 64
    monkeypatch.setattr(calibration, "MOST_VOXELS", 10)
    assert 10 <= len(drawn().there) <= 12
    part.save(tmp_path / "sample.npz")
    back = Sample.load(tmp_path / "sample.npz", "softmax")
    np.testing.assert_array_equal(back.there, part.there)
    np.testing.assert_allclose(back.logits, part.logits)


def test_the_box_is_about_the_labels() -> None:
    array = np.zeros((1, 50, 40, 30), np.uint8)
    grid = Grid((50, 40, 30), np.diag([1.0, 2.0, 5.0, 1.0]))
    assert about(Segmentation(array, grid, LABELS)) is None
    array = array.copy()
    array[0, 20:22, 3, 10:12] = 1
    box = about(Segmentation(array, grid, LABELS))
    assert box is not None
    assert box.shape == (22, 9, 6)
    np.testing.assert_allclose(box.to_world(np.zeros((1, 3)))[0], [10, 0, 40])


def test_without_voxels_there_is_nothing_to_say() -> None:
    empty = Sample(np.zeros((0, 3)), np.zeros((0, 3), bool), "softmax")
    assert calibrated([]) is None
    assert calibrated([empty]) is None
    found = calibrated([empty, softmax_sample(2.0, 100, 0)])
    assert isinstance(found, Calibration)
