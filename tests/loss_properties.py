"""What must hold of every loss, and patches with known references to try it on."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest
import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.errors import PipelineError
from medseg.steps import Head, Loss

HEADS = {"softmax": Softmax(), "sigmoid": Sigmoid()}
HALVES = (torch.float16, torch.bfloat16)


class Vectors(Softmax):
    """A head whose channels are no probabilities."""

    activation = None


class Batch(NamedTuple):
    """What a loss is called with."""

    logits: Tensor
    target: Tensor
    valid: Tensor

    def only(self, *samples: int) -> "Batch":
        """Some of the samples."""
        return Batch(*(tensor[list(samples)] for tensor in self))


def batch(head: str, dims: int, *, samples: int = 2, dtype: torch.dtype = torch.float64) -> Batch:
    """Random logits and references of 3 channels, a quarter of the voxels unknown, as the head has them."""
    rng = torch.Generator().manual_seed(7)
    patch = (4, 3, 2)[:dims]
    logits = torch.randn(samples, 3, *patch, generator=rng, dtype=dtype)
    if head == "softmax":
        values = torch.randint(3, (samples, *patch), generator=rng)
        target = torch.nn.functional.one_hot(values, 3).movedim(-1, 1).to(dtype)
    else:
        target = torch.randint(2, (samples, 3, *patch), generator=rng).to(dtype)
    valid = (torch.rand(samples, 1, *patch, generator=rng) > 0.25).to(dtype)
    return Batch(logits, target, valid)


def value(loss: Loss, head: str, given: Batch, maps: Mapping[str, Tensor] | None = None) -> Tensor:
    """What the loss says of a batch."""
    module = loss.build(HEADS[head], spacing=(1.0,) * (given.logits.ndim - 2), channels=given.logits.shape[1])
    found: Tensor = module(*given, maps or {})
    return found


def keeps_its_promises(loss: Loss, head: str, dims: int, maps: Mapping[str, Tensor] | None = None) -> None:
    """Gradient, mean over samples, unknown voxels and half precision, on a batch of two samples."""
    maps = maps or {}
    given = batch(head, dims)
    whole = value(loss, head, given, maps)
    assert whole.shape == ()
    assert torch.autograd.gradcheck(
        lambda logits: value(loss, head, given._replace(logits=logits), maps),
        given.logits.clone().requires_grad_(),
        fast_mode=True,
    )
    alone = [
        value(loss, head, given.only(n), {name: each[n : n + 1] for name, each in maps.items()})
        for n in (0, 1)
    ]
    torch.testing.assert_close(whole, (alone[0] + alone[1]) / 2)
    unknown = given.valid == 0
    garbage = Batch(
        torch.where(unknown, 1e4, given.logits), torch.where(unknown, -77.0, given.target), given.valid
    )
    torch.testing.assert_close(value(loss, head, garbage, maps), whole)
    nothing = value(loss, head, given._replace(valid=torch.zeros_like(given.valid)), maps)
    assert nothing == pytest.approx(0)
    for half in HALVES:
        rounded = given.logits.to(half)
        exact = value(loss, head, given._replace(logits=rounded.double()), maps)
        found = value(loss, head, Batch(rounded, given.target.float(), given.valid.float()), maps)
        assert found.item() == pytest.approx(exact.item(), rel=1e-5)


def refuses_other_channels(loss: Loss) -> None:
    """A head whose channels are no probabilities is refused by name, when the loss is built."""
    head: Head = Vectors()
    with pytest.raises(PipelineError, match="the channels of Vectors are none"):
        loss.build(head, spacing=(1.0, 1.0), channels=3)
