import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import blob, tensors

from medseg.builtin.metric.hd import Hd

Make = Callable[..., Any]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0)], ids=["cubes", "slices"])
def test_blobs_are_as_far_apart_as_monai_says(
    straight: Make, oblique: Make, labelled: Make, spacing: tuple[float, float, float]
) -> None:
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    rng = np.random.default_rng(11)
    one, two = blob(rng, (26, 22, 18)), blob(rng, (26, 22, 18))
    with warnings.catch_warnings():  # it warns of an argument that it gives itself
        warnings.simplefilter("ignore", FutureWarning)
        expected = float(
            compute_hausdorff_distance(*tensors(one, two), include_background=True, spacing=spacing)
        )
    for make in (straight, oblique):
        grid = make(one.shape, spacing)
        (row,) = Hd()(labelled(grid, a=one), labelled(grid, a=two))
        assert row.value == pytest.approx(expected, rel=1e-6)
        assert (row.quantity, row.unit, row.flag) == ("hd", "mm", "")


@pytest.mark.parametrize(("spacing", "expected"), [((1, 1, 1), 2), ((3, 1, 1), 6)])
def test_a_moved_cube_is_as_far_as_it_was_moved(
    straight: Make, labelled: Make, spacing: tuple[float, ...], expected: float
) -> None:
    grid = straight((12, 10, 10), spacing)
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[2:6, 2:6, 2:6] = two[4:8, 2:6, 2:6] = True
    (row,) = Hd()(labelled(grid, a=one), labelled(grid, a=two))
    assert row.value == pytest.approx(expected)


def test_one_voxel_decides(straight: Make, labelled: Make) -> None:
    grid = straight((30, 10, 10), (1, 1, 1))
    clean = np.zeros(grid.shape, bool)
    clean[2:6, 2:6, 2:6] = True
    speck = clean.copy()
    speck[25, 5, 5] = True
    (row,) = Hd()(labelled(grid, a=speck), labelled(grid, a=clean))
    assert row.value == pytest.approx(20)


def test_empty_masks_have_no_distance(straight: Make, labelled: Make) -> None:
    grid = straight((8, 8, 8))
    none, some = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    some[2:5, 2:5, 2:5] = True
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    assert [(row.value, row.flag) for row in Hd()(prediction, reference)] == [
        (None, "absent from prediction"),
        (None, "absent from reference"),
        (None, "absent from both"),
    ]
    assert Hd.better == "low"
