import numpy as np
import pytest
import torch  # noqa: TID253
from by_heart import recalled
from medseg_instances.border_core import BorderCore
from medseg_instances.cluster_term import ClusterTerm
from medseg_instances.discriminative import Discriminative
from medseg_instances.embedding import Embedding
from touching import average_precision, deep, flat

from medseg.errors import PipelineError
from medseg.segmentation import Segmentation


def apart(distance: float, off: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and target of two objects in a row whose means are so far apart, each point `off` its mean."""
    term = ClusterTerm(1, pull=0.5, push=1.5, unit=2.0)
    target = torch.zeros(1, 5, 1, 8)
    target[0, 1, 0, :4], target[0, 1, 0, 4:] = 1, 2
    points = torch.zeros(1, 4, 1, 8)
    points[0, 3, 0, 4:] = distance
    points[0, 2, 0] = off * torch.tensor([1.0, -1.0]).repeat(4)
    points -= term.placed(torch.zeros(1, 4, 1, 8))  # the places, which the term adds
    return torch.cat([torch.zeros(1, 1, 1, 8), points], 1), target


@pytest.mark.parametrize(
    ("distance", "off", "value"),
    [
        (3.01, 0.49, 0.0),  # everything holds
        (3.01, 0.8, 0.3**2),
        (1.0, 0.0, 2.0**2),
        (2.0, 1.5, 1.0 + 1.0),
    ],
)
def test_it_is_what_hinges_leave(distance: float, off: float, value: float) -> None:
    term = ClusterTerm(1, pull=0.5, push=1.5, unit=2.0)
    logits, target = apart(distance, off)
    found = float(term(logits, target, torch.ones(1, 1, 1, 8), {}))
    assert found == pytest.approx(value, abs=1e-5)
    if not value:
        assert found == 0


@pytest.mark.parametrize("wanted", [flat(), deep()], ids=["2-D", "3-D"])
def test_separated_clusters_cost_nothing_at_all(wanted: Segmentation) -> None:
    head = Embedding()
    target = head.target(wanted)
    logits, ideal = torch.from_numpy(head.logits(target))[None], torch.from_numpy(target)[None]
    if wanted.grid.shape[2] == 1:
        logits, ideal = logits[..., 0], ideal[..., 0]
    term = ClusterTerm(3, pull=0.5, push=1.5, unit=head.unit)
    assert float(term(logits, ideal, torch.ones_like(ideal[:, :1]), {})) == 0


def test_only_known_voxels_count() -> None:
    term = ClusterTerm(1, pull=0.5, push=1.5, unit=2.0)
    logits, target = apart(2.0, 0.0)
    valid = torch.ones(1, 1, 1, 8)
    valid[..., 5:] = 0
    before = float(term(logits, target, valid, {}))
    logits[..., 5:] += 10
    assert float(term(logits, target, valid, {})) == before == pytest.approx(1)
    assert float(term(logits, target, 0 * valid, {})) == 0


def test_gradients_are_those_of_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(2, 5, 4, 5, dtype=torch.float64)
    target[:, 1] = torch.randint(0, 4, (2, 4, 5), generator=generator)
    logits = torch.randn(2, 5, 4, 5, generator=generator)
    term, valid = ClusterTerm(1, pull=0.5, push=1.5, unit=2.0), torch.ones(2, 1, 4, 5)
    logits.requires_grad_()
    term(logits, target, valid, {}).backward()
    assert logits.grad is not None
    with torch.no_grad():
        for place in ((0, 1, 0, 0), (0, 4, 2, 3), (1, 2, 3, 4), (1, 3, 1, 1)):
            step = torch.zeros_like(logits)
            step[place] = 1e-2
            slope = (term(logits + step, target, valid, {}) - term(logits - step, target, valid, {})) / 2e-2
            assert float(logits.grad[place]) == pytest.approx(float(slope), abs=2e-3)


def test_points_that_are_all_the_same_have_a_finite_gradient() -> None:
    logits, target = apart(0.0, 0.0)
    logits.requires_grad_()
    ClusterTerm(1, pull=0.0, push=1.5, unit=2.0)(logits, target, torch.ones(1, 1, 1, 8), {}).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_it_is_for_the_embedding_alone() -> None:
    with pytest.raises(PipelineError, match="discriminative is the loss of the head embedding"):
        Discriminative().build(BorderCore(), spacing=(1.0, 1.0), channels=5)


def test_a_network_learns_to_tell_discs_apart_that_touch() -> None:
    """Trained on one picture until it gives its objects back."""
    wanted = flat()
    found = recalled(Embedding(), Discriminative(), wanted, steps=80)
    assert average_precision(found, wanted, 0.5) == {"round": 1.0, "long": 1.0}
    assert np.count_nonzero(found.array) > 0
