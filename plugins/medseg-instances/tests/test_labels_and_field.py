import numpy as np
import pytest
from medseg_instances.border_core import BorderCore
from medseg_instances.distance_watershed import DistanceWatershed
from medseg_instances.labels_and_field import LabelsAndField
from touching import balls, reference

from medseg.errors import PipelineError


def test_the_depth_is_that_of_the_whole_object() -> None:
    """Cut out of its image, an object keeps the depth that it has there."""
    wanted = reference(balls((60, 60, 1), [(20, 20), (20, 44), (48, 30)], [12, 11, 9]))
    head, loss = DistanceWatershed(), LabelsAndField()
    whole = loss.prepare(wanted, head, None)["depth"]
    assert np.array_equal(whole[0], head.target(wanted)[-1])
    patch = reference(wanted.array[0, :22])
    assert not np.allclose(head.target(patch)[-1], whole[0, :22])  # what a patch alone would say


def test_objects_that_reach_the_unknown_are_not_asked() -> None:
    wanted = reference(balls((60, 60, 1), [(20, 20), (20, 44), (48, 30)], [9, 9, 9]))
    valid = np.ones((60, 60, 1), np.bool_)
    valid[:, 52:] = False  # through the second
    depth = LabelsAndField().prepare(wanted, DistanceWatershed(), valid)["depth"][0]
    ids = wanted.array[0]
    assert (depth[ids == 2] == -1).all()
    assert (depth[(ids == 1) | (ids == 3)] > 0).all()
    assert (depth[ids == 0] == 0).all()


def test_other_heads_are_refused() -> None:
    with pytest.raises(PipelineError, match="the loss of the head distance-watershed"):
        LabelsAndField().build(BorderCore(), spacing=(1.0, 1.0), channels=3)
