import pytest
import torch  # noqa: TID253
from loss_properties import Batch, batch, keeps_its_promises, refuses_other_channels, value
from monai.losses.dice import DiceLoss  # noqa: TID253

from medseg.builtin.loss.dice import Dice


def sure(mask: torch.Tensor) -> torch.Tensor:
    """Logits of a network that gives exactly this mask."""
    return 200.0 * (mask - 0.5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_keeps_the_promises_of_a_loss(head: str, dims: int) -> None:
    keeps_its_promises(Dice(), head, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("background", [False, True])
def test_it_is_that_of_monai_where_all_is_known(dims: int, background: bool) -> None:
    given = batch("softmax", dims)
    known = given._replace(valid=torch.ones_like(given.valid))
    torch.testing.assert_close(
        value(Dice(include_background=background), "softmax", known),
        DiceLoss(include_background=background, softmax=True)(given.logits, given.target),
    )
    given = batch("sigmoid", dims)
    known = given._replace(valid=torch.ones_like(given.valid))
    torch.testing.assert_close(
        value(Dice(include_background=background), "sigmoid", known),
        DiceLoss(sigmoid=True)(given.logits, given.target),
    )


def test_it_is_one_less_the_dice_of_masks() -> None:
    mask, shifted = torch.zeros(2, 1, 1, 10)
    mask[..., 2:7], shifted[..., 4:9] = 1, 1  # 3 in common, 5 each
    given = Batch(sure(shifted)[None], mask[None], torch.ones(1, 1, 1, 10))
    assert value(Dice(), "sigmoid", given).item() == pytest.approx(1 - 2 * 3 / 10, abs=1e-5)
    assert value(Dice(), "sigmoid", given._replace(logits=sure(mask)[None])).item() == pytest.approx(0)
    apart = given._replace(logits=sure(1 - mask)[None])
    assert value(Dice(), "sigmoid", apart).item() == pytest.approx(1, abs=1e-5)


def test_channels_and_samples_count_alike() -> None:
    target = torch.zeros(2, 2, 1, 8)
    target[0, 0, :, :8], target[0, 1, :, :1], target[1, :, :, 2:4] = 1, 1, 1
    found = target.clone()
    found[0, 1] = 1 - found[0, 1]  # one small label missed altogether: a quarter of the mean
    given = Batch(sure(found), target, torch.ones(2, 1, 1, 8))
    assert value(Dice(), "sigmoid", given).item() == pytest.approx(0.25, abs=1e-5)


def test_a_reference_of_shares_is_met_by_the_same_shares() -> None:
    share = torch.tensor([0.1, 0.5, 0.9, 0.3]).reshape(1, 1, 1, 4)
    given = Batch(torch.logit(share), share, torch.ones(1, 1, 1, 4))
    assert value(Dice(), "sigmoid", given).item() == pytest.approx(0, abs=1e-6)


def test_an_absent_label_counts_one_until_smoothing_makes_it_say_how_much_is_found() -> None:
    given = Batch(torch.zeros(1, 1, 4, 5), torch.zeros(1, 1, 4, 5), torch.ones(1, 1, 4, 5))
    logits = given.logits.clone().requires_grad_()
    found = value(Dice(), "sigmoid", given._replace(logits=logits))
    found.backward()  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(1, abs=1e-5)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6
    assert value(Dice(smooth=10), "sigmoid", given).item() == pytest.approx(1 - 10 / (10 + 10))
    empty = given._replace(logits=sure(given.target))
    assert value(Dice(), "sigmoid", empty).item() == pytest.approx(0, abs=1e-5)


def test_other_channels_are_refused() -> None:
    refuses_other_channels(Dice())
