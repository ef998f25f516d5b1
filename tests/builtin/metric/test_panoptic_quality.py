from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import BARS, bars, values

from medseg.builtin.metric.panoptic_quality import PanopticQuality

Make = Callable[..., Any]


def test_by_hand(straight: Make, labelled: Make) -> None:
    """Bars of 4: one found exactly, one moved by 1 (IoU 3 / 5), one by 2 (1 / 3, no pair)."""
    grid = straight(BARS)
    reference = labelled(grid, a=bars((2, 2), (10, 2), (20, 2)))
    prediction = labelled(grid, a=bars((2, 2), (11, 2), (22, 2)))
    found = values(PanopticQuality()(prediction, reference))
    assert (found["pq-tp"], found["pq-fp"], found["pq-fn"]) == (2, 1, 1)
    assert found["sq"] == pytest.approx((1 + 0.6) / 2)
    assert found["rq"] == pytest.approx(2 / 3)
    assert found["pq"] == pytest.approx(found["sq"] * found["rq"])


def test_it_is_what_monai_gives(straight: Make, labelled: Make) -> None:
    import torch
    from monai.metrics.panoptic_quality import compute_panoptic_quality
    from scipy import ndimage

    rng = np.random.default_rng(4)
    masks = [ndimage.gaussian_filter(rng.normal(size=BARS), 1) for _ in range(2)]
    masks = [masks[0] > 0.2, masks[0] + 0.3 * masks[1] > 0.2]
    ours, theirs = (torch.from_numpy(ndimage.label(mask, np.ones((3, 3, 3)))[0]) for mask in masks)
    found = values(PanopticQuality()(*(labelled(straight(BARS), a=mask) for mask in masks)))
    assert found["pq-tp"] >= 2
    for name in ("pq", "sq", "rq"):
        expected = float(compute_panoptic_quality(ours, theirs, metric_name=name))
        assert found[name] == pytest.approx(expected, rel=1e-5)


def test_objects_of_all_cases_together(straight: Make, labelled: Make) -> None:
    metric, grid = PanopticQuality(), straight(BARS)
    two, one = labelled(grid, a=bars((2, 2), (10, 2))), labelled(grid, a=bars((2, 2)))
    rows = [values(metric(one, two)), values(metric(two, two))]
    sums = {name: np.array([float(sum(row[name] or 0 for row in rows))]) for name in rows[0]}
    assert {name: float(value[0]) for name, value in metric.pooled(sums).items()} == pytest.approx(
        {"pq": 3 / 3.5, "sq": 1, "rq": 3 / 3.5}
    )


def test_empty_masks(straight: Make, labelled: Make) -> None:
    grid = straight(BARS)
    none, some = np.zeros(BARS, bool), bars((2, 2))
    prediction = labelled(grid, missed=none, made_up=some, neither=none)
    reference = labelled(grid, missed=some, made_up=none, neither=none)
    rows = [row for row in PanopticQuality()(prediction, reference) if row.quantity in ("pq", "sq", "rq")]
    assert [row.value for row in rows] == [0, None, 0, 0, None, 0, None, None, None]
    assert [row.flag for row in rows][::3] == [
        "absent from prediction",
        "absent from reference",
        "absent from both",
    ]
