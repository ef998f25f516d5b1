"""Calibration error and Brier score: counted, at the edges of bins, and as torchmetrics has them."""

import numpy as np
import pytest

from medseg import reliability
from medseg.reliability import BINS, brier_score, expected_calibration_error


def drawn(count: int, seed: int, *, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and what came true with their powers as chances."""
    rng = np.random.default_rng(seed)
    shares = rng.random(count)
    return shares, rng.random(count) < shares**power


def test_one_probability_is_as_wrong_as_it_is_far_from_its_share() -> None:
    """Twenty voxels at 0.3 of which five are there: 0.3 - 0.25."""
    shares, true = np.full(20, 0.3), np.arange(20) < 5
    assert expected_calibration_error(shares, true) == pytest.approx(0.05)
    assert brier_score(shares, true) == pytest.approx(0.25 * 0.7**2 + 0.75 * 0.3**2)


def test_bins_count_by_how_many_are_in_them() -> None:
    """Three voxels at 0.9, all there, and one at 0.1 that is there: 3/4 of 0.1 and 1/4 of 0.9."""
    shares, true = np.array([0.9, 0.9, 0.9, 0.1]), np.ones(4, bool)
    assert expected_calibration_error(shares, true) == pytest.approx(0.75 * 0.1 + 0.25 * 0.9)


def test_what_is_certain_and_right_has_no_error_and_wrong_has_all() -> None:
    true = np.arange(10) < 3
    assert (expected_calibration_error(true * 1.0, true), brier_score(true * 1.0, true)) == (0, 0)
    assert (expected_calibration_error(1.0 - true, true), brier_score(1.0 - true, true)) == (1, 1)


def test_chances_that_come_true_as_often_as_they_say_are_calibrated() -> None:
    """And those that come true as often as their square are off by the mean of x - x^2, 1/6."""
    assert expected_calibration_error(*drawn(200_000, 0)) < 0.005
    assert expected_calibration_error(*drawn(200_000, 1, power=2)) == pytest.approx(1 / 6, abs=0.005)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_torchmetrics_gives(seed: int) -> None:
    """Their bins have the lower edge, ours the upper: no random number is on one."""
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    shares, true = drawn(3000, seed, power=1.7)
    theirs = binary_calibration_error(torch.from_numpy(shares), torch.from_numpy(true).int(), BINS, "l1")
    assert expected_calibration_error(shares, true) == pytest.approx(float(theirs), abs=1e-6)
    squares = torch.nn.functional.mse_loss(torch.from_numpy(shares), torch.from_numpy(true).double())
    assert brier_score(shares, true) == pytest.approx(float(squares), abs=1e-12)


def test_each_step_of_a_file_is_in_its_bin_whatever_its_rounding() -> None:
    """Steps 17 m - 16 to 17 m of 255 are a bin, with 0 in the first; in one bin errors cancel, in two not."""
    steps = np.arange(256)
    stored = steps.astype(np.uint8) * np.float32(1 / 255)
    for shares in (steps / 255, stored, np.nextafter(stored, 0), np.nextafter(stored, 2)):
        for first in range(256):
            for second in (first - 1, first + 1):
                if not 0 <= second <= 255:
                    continue
                pair = shares[[first, second]]
                told = expected_calibration_error(pair, np.array([True, False]))
                same = (max(first, 1) - 1) // 17 == (max(second, 1) - 1) // 17
                apart = (abs(pair[0] - 1) + abs(pair[1])) / 2
                assert told == pytest.approx(abs(pair.sum() - 1) / 2 if same else apart, abs=1e-6)


def test_rounding_to_a_files_steps_changes_little() -> None:
    shares, true = drawn(50_000, 5, power=1.5)
    stored = np.rint(shares * 255).astype(np.uint8) * np.float32(1 / 255)
    there, here = (f(stored, true) for f in (expected_calibration_error, brier_score))
    assert there == pytest.approx(expected_calibration_error(shares, true), abs=1 / 510)
    assert here == pytest.approx(brier_score(shares, true), abs=2 / 510)


def test_a_large_image_is_added_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    shares, true = (array.reshape(10, 20, 30) for array in drawn(6000, 6, power=2))
    whole = expected_calibration_error(shares, true), brier_score(shares, true)
    monkeypatch.setattr(reliability, "AT_ONCE", 1001)
    assert (expected_calibration_error(shares, true), brier_score(shares, true)) == pytest.approx(whole)
