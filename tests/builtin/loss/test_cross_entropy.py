import math

import pytest
import torch  # noqa: TID253
from loss_properties import batch, keeps_its_promises, refuses_other_channels, value
from pydantic import ValidationError
from torch.nn import functional  # noqa: TID253

from medseg.builtin.loss.cross_entropy import CrossEntropy
from medseg.errors import PipelineError


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_keeps_the_promises_of_a_loss(head: str, dims: int) -> None:
    keeps_its_promises(CrossEntropy(), head, dims)
    keeps_its_promises(CrossEntropy(weights=(0.2, 1.0, 3.0)), head, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("head", "undecided"), [("softmax", math.log(3)), ("sigmoid", math.log(2))])
def test_an_undecided_network_costs_the_logarithm_of_its_choices(
    head: str, undecided: float, dims: int
) -> None:
    given = batch(head, dims)
    flat = given._replace(logits=torch.full_like(given.logits, 4.2 if head == "softmax" else 0.0))
    assert value(CrossEntropy(), head, flat).item() == pytest.approx(undecided)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_the_cross_entropy_of_torch_where_all_is_known(dims: int) -> None:
    given = batch("softmax", dims)
    known = given._replace(valid=torch.ones_like(given.valid))
    torch.testing.assert_close(
        value(CrossEntropy(), "softmax", known),
        functional.cross_entropy(given.logits, given.target.argmax(1)),
    )
    given = batch("sigmoid", dims)
    known = given._replace(valid=torch.ones_like(given.valid))
    torch.testing.assert_close(
        value(CrossEntropy(), "sigmoid", known),
        functional.binary_cross_entropy_with_logits(given.logits, given.target),
    )


def test_two_channels_of_softmax_are_one_of_sigmoid() -> None:
    given = batch("softmax", 2)
    two = given._replace(
        logits=given.logits[:, :2], target=torch.stack([1 - given.target[:, 1], given.target[:, 1]], 1)
    )
    one = given._replace(logits=given.logits[:, 1:2] - given.logits[:, :1], target=given.target[:, 1:2])
    torch.testing.assert_close(value(CrossEntropy(), "softmax", two), value(CrossEntropy(), "sigmoid", one))


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_is_finite_where_the_network_is_surely_wrong(head: str) -> None:
    given = batch(head, 2, dtype=torch.float32)
    wrong = given._replace(logits=(-1e4 * (given.target - 0.5)).requires_grad_())
    found = value(CrossEntropy(), head, wrong)
    found.backward()  # type: ignore[no-untyped-call]
    assert 1e3 < found < 2e4
    assert wrong.logits.grad is not None
    assert wrong.logits.grad.isfinite().all()


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_weights_multiply_the_terms_of_their_channel(head: str) -> None:
    given = batch(head, 2)
    plain = value(CrossEntropy(), head, given)
    torch.testing.assert_close(value(CrossEntropy(weights=(1, 1, 1)), head, given), plain)
    torch.testing.assert_close(value(CrossEntropy(weights=(2, 2, 2)), head, given), 2 * plain)
    parts = [value(CrossEntropy(weights=w), head, given) for w in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    torch.testing.assert_close(parts[0] + parts[1] + parts[2], plain)


def test_what_does_not_fit_is_refused() -> None:
    refuses_other_channels(CrossEntropy())
    with pytest.raises(PipelineError, match=r"cross-entropy.weights: 2 numbers for 3 channels"):
        value(CrossEntropy(weights=(1, 1)), "softmax", batch("softmax", 2))
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        CrossEntropy(weights=(1, -1))
