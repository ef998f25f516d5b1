import numpy as np
import pytest
import torch  # noqa: TID253
from by_heart import recalled
from medseg_instances.border_core import BorderCore
from medseg_instances.star_convex import StarConvex
from medseg_instances.star_loss import StarConvexLoss
from touching import average_precision, flat

from medseg.errors import PipelineError


def test_it_is_for_stardist_alone() -> None:
    with pytest.raises(PipelineError, match="star-convex is the loss of the head stardist"):
        StarConvexLoss().build(BorderCore(), spacing=(1.0, 1.0), channels=5)


def test_it_is_nearly_zero_at_the_target() -> None:
    head, wanted = StarConvex(axes=2), flat()
    target = head.target(wanted)
    logits, ideal = (torch.from_numpy(each[None, ..., 0]) for each in (head.logits(target), target))
    module = StarConvexLoss().build(head, spacing=(1.0, 1.0), channels=len(target))
    valid = torch.ones_like(ideal[:, :1])
    assert float(module(logits, ideal, valid, {})) == pytest.approx(0, abs=1e-3)
    logits[:, 4:] += 2.0
    longer = float(module(logits, ideal, valid, {}))
    assert 0.3 < longer < 0.2 * 2  # rays that leave the image may be longer
    assert np.isfinite(longer)


def test_a_network_learns_to_tell_discs_apart_that_touch() -> None:
    wanted = flat()
    found = recalled(StarConvex(axes=2, rays=16), StarConvexLoss(), wanted, steps=100)
    assert average_precision(found, wanted, 0.5) == {"round": 1.0, "long": 1.0}
