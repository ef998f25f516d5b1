import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_instances.border_core import BorderCore
from medseg_instances.distance_watershed import DistanceWatershed
from medseg_instances.labels_and_field import LabelsAndField
from numpy.typing import NDArray
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


def test_a_depth_that_is_wrong_between_objects_costs_more_with_a_gap_weight() -> None:
    wanted = reference(balls((40, 60, 1), [(20, 20), (20, 39)], [10, 10]))
    head = DistanceWatershed()
    target = head.target(wanted)
    ids = wanted.array[0]
    j = np.indices(ids.shape)[1]
    meeting, away = (ids > 0) & (abs(j - 29.5) < 3), (ids > 0) & (abs(j - 10) < 3)

    def value(loss: LabelsAndField, wrong: NDArray[np.bool_]) -> float:
        logits = head.logits(target)
        logits[-1][wrong] += 0.5
        given = [torch.from_numpy(each[None, ..., 0]) for each in (logits, target, np.ones_like(target[:1]))]
        prepared = loss.prepare(wanted, head, None)
        maps = {name: torch.from_numpy(values[None, ..., 0]) for name, values in prepared.items()}
        return float(loss.build(head, spacing=(1.0, 1.0), channels=4)(*given, maps))

    def cost(loss: LabelsAndField, wrong: NDArray[np.bool_]) -> float:
        """Of a wrong voxel."""
        return (value(loss, wrong) - value(loss, np.zeros_like(wrong))) / int(wrong.sum())

    plain, weighted = LabelsAndField(), LabelsAndField(gap_weight=6.0)
    assert set(plain.prepare(wanted, head, None)) == {"depth"}
    assert cost(plain, meeting) == pytest.approx(cost(plain, away), rel=1e-3)
    assert cost(weighted, meeting) > 2.5 * cost(weighted, away)


def test_what_is_not_known_makes_nothing_close() -> None:
    ids = balls((40, 60, 1), [(20, 20), (20, 39)], [10, 10])
    valid = np.indices(ids.shape)[1] < 30  # the second object is not known
    loss, head = LabelsAndField(gap_weight=6.0), DistanceWatershed()
    found = loss.prepare(reference(ids), head, valid)["closeness"]
    without = loss.prepare(reference(np.where(valid, ids, 0)), head, valid)["closeness"]
    assert np.array_equal(found, without)
    assert not found.any()
    assert loss.prepare(reference(ids), head, None)["closeness"].max() > 0.9


def test_other_heads_are_refused() -> None:
    with pytest.raises(PipelineError, match="the loss of the head distance-watershed"):
        LabelsAndField().build(BorderCore(), spacing=(1.0, 1.0), channels=3)
