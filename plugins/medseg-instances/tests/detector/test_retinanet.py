"""RetinaNet: the focal loss, and what of a batch its loss is."""

import math

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import batch, network, two_boxes
from medseg_instances.detector.retinanet import focal


def test_focal_loss_by_hand() -> None:
    """Of an object told with 0.9 and background told with 0.2: (1 - p)^2 times cross-entropy, by a weight."""
    logits = torch.logit(torch.tensor([0.9, 0.2], dtype=torch.float64))
    wanted = 0.25 * 0.1**2 * -math.log(0.9) + 0.75 * 0.2**2 * -math.log(0.8)
    assert focal(logits, torch.tensor([1.0, 0.0], dtype=torch.float64)).item() == pytest.approx(wanted)


def test_the_loss_is_the_mean_over_samples() -> None:
    """Nothing is drawn where there are few boxes to learn masks in."""
    net = network(2, kind="retinanet")
    both = batch(np.stack([two_boxes(2), np.where(two_boxes(2) == 3, 4, 0)]))
    alone = [{**both, **{name: both[name][n : n + 1] for name in both if name != "maps"}} for n in range(2)]
    found = [net.loss(each).item() for each in (both, *alone)]
    assert found[0] == pytest.approx((found[1] + found[2]) / 2, rel=1e-5)


def test_the_label_of_an_anchor_decides_which_object_is_found() -> None:
    """A bias by which the second label is sure everywhere: all that is found is of it."""
    net = network(2, kind="retinanet").eval()
    last = net.dense.classes[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.inference_mode():
        last.bias[1::2] += 10
        (found,) = net(torch.rand(1, 1, 16, 16))
    assert len(found.labels) > 0
    assert set(found.labels.tolist()) == {1}
