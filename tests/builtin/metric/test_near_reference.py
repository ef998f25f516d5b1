from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.builtin.metric.near_reference import near_reference
from medseg.errors import GeometryError
from medseg.prediction import Scores
from medseg.volume import Grid

Make = Callable[..., Any]
SHAPE = (30, 20, 12)


def cube() -> np.ndarray[Any, Any]:
    found = np.zeros(SHAPE, bool)
    found[10:14, 2:6, 4:6] = True
    return found


def test_a_margin_is_in_millimetres_and_ends_at_the_image(straight: Make, labelled: Make) -> None:
    """6 mm are 6 voxels of 1 mm, 3 of 2 mm (of which 2 are there below), 2 of 3 mm."""
    grid = straight(SHAPE, (1, 2, 3))
    scores = Scores(np.random.default_rng(0).random((1, *SHAPE), np.float32), grid, "probabilities")
    near = near_reference(scores, labelled(grid, a=cube()), "a", margin_mm=6, what="x")
    assert near is not None
    assert near.probabilities.shape == near.true.shape == (16, 9, 6)
    np.testing.assert_array_equal(near.probabilities, scores.array[0, 4:20, 0:9, 2:8])
    np.testing.assert_array_equal(near.true, cube()[4:20, 0:9, 2:8])
    assert near.flag == ""


def test_without_a_margin_it_is_all(straight: Make, labelled: Make) -> None:
    grid = straight(SHAPE)
    scores = Scores(np.zeros((1, *SHAPE), np.float32), grid, "probabilities")
    reference = labelled(grid, a=cube(), none=np.zeros(SHAPE, bool))
    near = near_reference(scores, reference, "none", margin_mm=None, what="x")
    assert near is not None
    assert (near.true.shape, near.flag) == (SHAPE, "absent from reference")
    assert not near.true.any()
    assert near_reference(scores, reference, "none", margin_mm=6, what="x") is None


def test_a_picture_has_no_millimetres(labelled: Make) -> None:
    grid = Grid(SHAPE, np.eye(4), "px")
    scores = Scores(np.zeros((1, *SHAPE), np.float32), grid, "probabilities")
    assert near_reference(scores, labelled(grid, a=cube()), "a", margin_mm=None, what="x") is not None
    with pytest.raises(GeometryError, match="the margin of x needs a scale"):
        near_reference(scores, labelled(grid, a=cube()), "a", margin_mm=1, what="x")
