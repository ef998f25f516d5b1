from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.ece import Ece
from medseg.errors import UsageError
from medseg.prediction import Measured, Scores

Make = Callable[..., Any]
SHAPE = (40, 20, 20)


def cube() -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[10:20, 5:15, 5:15] = True
    return found


def scored(grid: Any, inside: float, outside: float) -> Scores:
    array = np.where(cube(), inside, outside).astype(np.float32)[None]
    return Scores(array, grid, "probabilities")


def test_a_cube_and_its_surroundings(straight: Make, labelled: Make) -> None:
    """0.8 in a cube of 10, 0.1 in the 2 mm about it: 1000 voxels off by 0.2, 14^3 - 1000 by 0.1."""
    grid = straight(SHAPE)
    (row,) = Ece(margin_mm=2).of_scores(scored(grid, 0.8, 0.1), labelled(grid, a=cube()), "a")
    assert (row.label, row.quantity, row.unit, row.flag) == ("a", "ece", "", "")
    assert row.value == pytest.approx((1000 * 0.2 + (14**3 - 1000) * 0.1) / 14**3)


def test_easy_background_hides_what_is_wrong(straight: Make, labelled: Make) -> None:
    """A network that is only half sure of what it finds: the more empty image, the better it looks."""
    grid = straight(SHAPE)
    sure_outside, reference = scored(grid, 0.5, 0.0), labelled(grid, a=cube())
    near, far, whole = (
        next(iter(Ece(margin_mm=margin).of_scores(sure_outside, reference, "a"))).value
        for margin in (0, 5, None)
    )
    assert near == pytest.approx(0.5)
    assert far == pytest.approx(0.5 * 1000 / (20 * 20 * 20))
    assert whole == pytest.approx(0.5 * 1000 / (40 * 20 * 20))


def test_a_label_that_the_reference_lacks(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    reference = labelled(grid, a=cube(), none=np.zeros(SHAPE, bool))
    rows = list(Ece().of_scores(scored(grid, 0.2, 0.2), reference, "none"))
    assert rows == [Measured(label="none", quantity="ece", value=None, flag="absent from reference")]
    (row,) = Ece(margin_mm=None).of_scores(scored(grid, 0.2, 0.2), reference, "none")
    assert row.value == pytest.approx(0.2)
    assert row.flag == "absent from reference"


def test_masks_have_no_probabilities(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    with pytest.raises(UsageError, match="compares probabilities, which masks do not hold"):
        list(Ece()(labelled(grid, a=cube()), labelled(grid, a=cube())))
