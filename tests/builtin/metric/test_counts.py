from collections.abc import Callable
from typing import Any

import numpy as np

from medseg.builtin.metric.counts import Counts, counts_of, share
from medseg.builtin.metric.label_pair import label_pairs

Make = Callable[..., Any]


def test_voxels_of_the_whole_image_are_counted(straight: Make, labelled: Make) -> None:
    grid = straight((12, 10, 8))
    rng = np.random.default_rng(1)
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[3:9, 2:8, 1:5], two[4:10, 2:9, 2:6] = rng.random((6, 6, 4)) < 0.5, rng.random((6, 7, 4)) < 0.5
    (pair,) = label_pairs(labelled(grid, a=one), labelled(grid, a=two))
    by_hand = [int(np.count_nonzero(each)) for each in (one & two, one & ~two, ~one & two, ~one & ~two)]
    assert counts_of(pair) == Counts(*by_hand)
    assert counts_of(pair).union == np.count_nonzero(one | two)


def test_a_share_of_nothing_is_none() -> None:
    assert share(0, 0) is None
    assert share(1, 4) == 0.25
