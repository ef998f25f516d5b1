import pytest
import torch  # noqa: TID253
from by_heart import recalled
from medseg_instances.border_core import BorderCore
from medseg_instances.flow_loss import FlowLoss
from medseg_instances.flow_term import FlowTerm
from medseg_instances.flows import Flows
from touching import average_precision, flat

from medseg.errors import PipelineError


def test_it_is_for_flows_alone() -> None:
    with pytest.raises(PipelineError, match="flow is the loss of the head flows"):
        FlowLoss().build(BorderCore(), spacing=(1.0, 1.0), channels=5)


def test_it_is_zero_at_the_target() -> None:
    head, wanted = Flows(), flat()
    target = head.target(wanted)
    logits, ideal = (torch.from_numpy(each[None, ..., 0]) for each in (head.logits(target), target))
    module = FlowLoss().build(head, spacing=(1.0, 1.0), channels=len(target))
    valid = torch.ones_like(ideal[:, :1])
    assert float(module(logits, ideal, valid, {})) == pytest.approx(0, abs=1e-5)
    logits[:, -1] = 7.0  # nothing is asked of the third in a picture
    assert float(module(logits, ideal, valid, {})) == pytest.approx(0, abs=1e-5)


def test_flows_count_in_known_objects_alone_with_their_square() -> None:
    target = torch.zeros(2, 5, 4, 6)
    target[:, 0] = 1
    target[:, :2, 1, 1:4] = torch.tensor([0.0, 1.0])[None, :, None]  # three voxels of an object
    target[:, 2, 1, 1:4] = 1
    logits, valid = target.clone(), torch.ones(2, 1, 4, 6)
    logits[:, 2:, 2:] = 9.0  # in the background
    logits[0, 3, 1, 1] = 0.6  # one of three off by so much
    logits[0, 2:, 1, 2], valid[0, :, 1, 2] = 5.0, 0  # where nothing is known
    value = FlowTerm(2, 3.0)(logits, target, valid, {})
    assert float(value) == pytest.approx(3 * (0.36 / 2 + 0) / 2)
    assert float(FlowTerm(2, 3.0)(logits, target, 0 * valid, {})) == 0


def test_a_network_learns_to_tell_discs_apart_that_touch() -> None:
    wanted = flat()
    found = recalled(Flows(), FlowLoss(), wanted, steps=80)
    assert average_precision(found, wanted, 0.5) == {"round": 1.0, "long": 1.0}
