"""What docs/explanation/metrics.md says of libraries: where they give other numbers than ours, and why."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import tensors

from medseg.builtin.metric.dice import Dice
from medseg.builtin.metric.hd import Hd
from medseg.builtin.metric.panoptic_quality import PanopticQuality

Make = Callable[..., Any]
SHAPE = (12, 10, 8)

NONE, SOME = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
SOME[2:6, 2:6, 2:6] = True


def test_what_is_made_up_costs_nothing_in_monai(straight: Make, labelled: Make) -> None:
    from monai.metrics.meandice import compute_dice

    made_up, neither = tensors(SOME, NONE), tensors(NONE, NONE)
    assert np.isnan(float(compute_dice(*made_up)))  # left out of any mean
    assert float(compute_dice(*neither, ignore_empty=False)) == 1
    grid = straight(SHAPE)
    (ours,) = Dice()(labelled(grid, a=SOME), labelled(grid, a=NONE))
    assert (ours.value, ours.flag) == (0.0, "absent from reference")
    (ours,) = Dice()(labelled(grid, a=NONE), labelled(grid, a=NONE))
    assert (ours.value, ours.flag) == (None, "absent from both")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_distances_of_empty_masks_are_no_numbers_in_monai(straight: Make, labelled: Make) -> None:
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    theirs = float(compute_hausdorff_distance(*tensors(NONE, SOME), include_background=True))
    assert not np.isfinite(theirs)
    grid = straight(SHAPE)
    (ours,) = Hd()(labelled(grid, a=NONE), labelled(grid, a=SOME))
    assert (ours.value, ours.flag) == (None, "absent from prediction")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_spacing_cannot_say_that_slices_are_tilted(sheared: Make, labelled: Make) -> None:
    """Two voxels, four slices of 5 mm apart in a CT tilted by 15 degrees: 20 mm and 5.36 mm across."""
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    grid = sheared(SHAPE, (1, 1, 5))
    low, high = NONE.copy(), NONE.copy()
    low[5, 5, 1] = high[5, 5, 5] = True
    theirs = float(
        compute_hausdorff_distance(*tensors(low, high), include_background=True, spacing=(1.0, 1.0, 5.0))
    )
    (ours,) = Hd()(labelled(grid, a=low), labelled(grid, a=high))
    assert theirs == pytest.approx(20)
    assert ours.value == pytest.approx(20 / np.cos(np.radians(15)))


def test_a_perfect_prediction_is_not_quite_perfect(straight: Make, labelled: Make) -> None:
    import torch
    from monai.metrics.panoptic_quality import compute_panoptic_quality

    same = torch.from_numpy(SOME.astype(np.int64))
    assert 0.999998 < float(compute_panoptic_quality(same, same)) < 1
    grid = straight(SHAPE)
    ours = next(iter(PanopticQuality()(labelled(grid, a=SOME), labelled(grid, a=SOME))))
    assert (ours.quantity, ours.value) == ("pq", 1.0)
