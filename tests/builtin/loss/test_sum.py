from collections.abc import Callable

import numpy as np
import pytest
import torch  # noqa: TID253
from loss_properties import HEADS, batch, keeps_its_promises, refuses_other_channels, value
from pydantic import ValidationError

from medseg.builtin.loss.boundary import Boundary
from medseg.builtin.loss.cross_entropy import CrossEntropy
from medseg.builtin.loss.dice import Dice
from medseg.builtin.loss.sum import Sum
from medseg.segmentation import Segmentation
from medseg.volume import Grid

MAP = "signed-distance-mm"


def phi(dims: int, channels: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, *(4, 3, 2)[:dims], generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_keeps_the_promises_of_a_loss(dims: int) -> None:
    loss = Sum(losses=(Dice(), Boundary()), weights=(1, 0.1))
    keeps_its_promises(loss, "softmax", dims, {f"1-{MAP}": phi(dims)})


def test_it_is_linear_in_its_weights() -> None:
    given, maps = batch("softmax", 2), {f"0-{MAP}": phi(2)}
    parts = value(Boundary(), "softmax", given, {MAP: phi(2)}), value(CrossEntropy(), "softmax", given)
    losses = Boundary(), CrossEntropy()
    torch.testing.assert_close(value(Sum(losses=losses), "softmax", given, maps), parts[0] + parts[1])
    weighted = Sum(losses=losses, weights=(0.01, 2))
    torch.testing.assert_close(value(weighted, "softmax", given, maps), 0.01 * parts[0] + 2 * parts[1])


def test_maps_of_two_losses_of_a_kind_stay_apart(
    straight: Callable[..., Grid], labelled: Callable[..., Segmentation]
) -> None:
    grid = straight((6, 5, 4), (1.0, 1.0, 3.0))
    mask = np.zeros(grid.shape, bool)
    mask[2:4, 1:3, 1] = True
    segmentation = labelled(grid, lesion=mask)
    inner = Sum(losses=(Boundary(include_background=True),))
    loss = Sum(losses=(Boundary(), CrossEntropy(), inner), weights=(1, 0, 1))
    maps = loss.prepare(segmentation, HEADS["softmax"], None)
    assert {name: each.shape[0] for name, each in maps.items()} == {f"0-{MAP}": 1, f"2-0-{MAP}": 2}
    target = torch.from_numpy(HEADS["softmax"].target(segmentation))[None]
    tensors = {name: torch.from_numpy(each)[None] for name, each in maps.items()}
    module = loss.build(HEADS["softmax"], spacing=grid.spacing, channels=2)
    found = module(20 * (target - 0.5), target, torch.ones(1, 1, *grid.shape), tensors)
    by_hand = sum((target[0, -each.shape[0] :].numpy() * each).mean() for each in maps.values())
    assert found.item() == pytest.approx(by_hand, rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    refuses_other_channels(Sum(losses=(Dice(),)))
    with pytest.raises(ValidationError, match="2 losses have 2 weights"):
        Sum(losses=(Dice(), CrossEntropy()), weights=(1,))
    with pytest.raises(ValidationError, match="nothing is left to train on"):
        Sum(losses=(Dice(),), weights=(0,))
    with pytest.raises(ValidationError, match="at least 1 item"):
        Sum(losses=())
