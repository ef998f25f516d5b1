import pytest
import torch  # noqa: TID253
from loss_properties import Batch, batch, keeps_its_promises, refuses_other_channels, value
from monai.losses.focal_loss import FocalLoss  # noqa: TID253

from medseg.builtin.loss.cross_entropy import CrossEntropy
from medseg.builtin.loss.focal import Focal
from medseg.errors import PipelineError


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_keeps_the_promises_of_a_loss(head: str, dims: int) -> None:
    keeps_its_promises(Focal(), head, dims)
    keeps_its_promises(Focal(gamma=1.5, alpha=(0.1, 0.5, 0.9)), head, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_with_gamma_zero_it_is_cross_entropy(head: str, dims: int) -> None:
    given = batch(head, dims)
    torch.testing.assert_close(
        value(Focal(gamma=0), head, given), value(CrossEntropy(), head, given), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
def test_it_is_that_of_monai_times_the_channels_of_softmax(gamma: float) -> None:
    given = batch("softmax", 3)
    known = given._replace(valid=torch.ones_like(given.valid))
    theirs = FocalLoss(use_softmax=True, gamma=gamma)(given.logits, given.target)
    assert value(Focal(gamma=gamma), "softmax", known).item() == pytest.approx(3 * theirs.item(), rel=1e-5)
    given = batch("sigmoid", 3)
    known = given._replace(valid=torch.ones_like(given.valid))
    theirs = FocalLoss(gamma=gamma, alpha=0.25)(given.logits, given.target)
    ours = value(Focal(gamma=gamma, alpha=(0.25,) * 3), "sigmoid", known)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_a_voxel_at_probability_p_costs_what_the_formula_says() -> None:
    p = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64).reshape(1, 1, 1, 3)
    given = Batch(torch.logit(p), torch.ones_like(p), torch.ones_like(p))
    expected = (-((1 - p) ** 2) * p.log()).mean()
    torch.testing.assert_close(value(Focal(), "sigmoid", given), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("sign", [1, -1])
def test_its_gradient_is_finite_where_the_network_is_sure(head: str, gamma: float, sign: int) -> None:
    given = batch(head, 2, dtype=torch.float32)
    logits = (sign * 400.0 * (given.target - 0.5)).requires_grad_()
    found = value(Focal(gamma=gamma), head, given._replace(logits=logits))
    found.backward()  # type: ignore[no-untyped-call]
    assert found.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    refuses_other_channels(Focal())
    with pytest.raises(PipelineError, match=r"focal.alpha: 1 numbers for 3 channels"):
        value(Focal(alpha=(0.25,)), "sigmoid", batch("sigmoid", 2))
