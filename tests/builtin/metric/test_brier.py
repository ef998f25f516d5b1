from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.brier import Brier
from medseg.prediction import Measured, Scores

Make = Callable[..., Any]
SHAPE = (20, 12, 12)


def cube() -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[5:9, 4:8, 4:8] = True
    return found


def scored(grid: Any, inside: float, outside: float) -> Scores:
    return Scores(np.where(cube(), inside, outside).astype(np.float32)[None], grid, "probabilities")


def test_a_cube_and_its_surroundings(straight: Make, labelled: Make) -> None:
    """0.8 in a cube of 4, 0.1 in the millimetre about it."""
    grid = straight(SHAPE)
    (row,) = Brier(margin_mm=1).of_scores(scored(grid, 0.8, 0.1), labelled(grid, a=cube()), "a")
    assert (row.quantity, row.unit, row.flag) == ("brier", "", "")
    assert row.value == pytest.approx((64 * 0.2**2 + (216 - 64) * 0.1**2) / 216)


def test_half_everywhere_is_a_quarter(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    (row,) = Brier(margin_mm=None).of_scores(scored(grid, 0.5, 0.5), labelled(grid, a=cube()), "a")
    assert row.value == pytest.approx(0.25)


def test_of_two_classes_it_is_half_of_the_sum_that_a_card_has(straight: Make, labelled: Make) -> None:
    from medseg.training.calibration import Sample, brier

    grid, rng = straight(SHAPE), np.random.default_rng(2)
    shares = rng.random(SHAPE).astype(np.float32)
    (row,) = Brier(margin_mm=None).of_scores(
        Scores(shares[None], grid, "probabilities"), labelled(grid, a=cube()), "a"
    )
    logits = np.stack([np.log1p(-shares), np.log(shares)], axis=-1).reshape(-1, 2).astype(np.float64)
    there = np.stack([~cube(), cube()], axis=-1).reshape(-1, 2)
    assert row.value is not None
    assert 2 * float(row.value) == pytest.approx(brier(Sample(logits, there, "softmax")), rel=1e-5)


def test_a_label_that_the_reference_lacks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    reference = labelled(grid, a=cube(), none=np.zeros(SHAPE, bool))
    rows = list(Brier().of_scores(scored(grid, 0.2, 0.2), reference, "none"))
    assert rows == [Measured(label="none", quantity="brier", value=None, flag="absent from reference")]
    (row,) = Brier(margin_mm=None).of_scores(scored(grid, 0.2, 0.2), reference, "none")
    assert row.value == pytest.approx(0.04)
    assert row.flag == "absent from reference"
