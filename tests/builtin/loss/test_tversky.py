import pytest
import torch  # noqa: TID253
from loss_properties import Batch, batch, keeps_its_promises, refuses_other_channels, value
from monai.losses.dice import DiceLoss  # noqa: TID253
from monai.losses.tversky import TverskyLoss  # noqa: TID253

from medseg.builtin.loss.dice import Dice
from medseg.builtin.loss.tversky import Tversky


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_keeps_the_promises_of_a_loss(head: str, dims: int) -> None:
    keeps_its_promises(Tversky(fp_weight=0.3, fn_weight=0.7), head, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_halves_are_dice_and_ones_are_jaccard(head: str, dims: int) -> None:
    given = batch(head, dims)
    torch.testing.assert_close(
        value(Tversky(smooth=1e-5), head, given),
        value(Dice(smooth=2e-5), head, given),  # 2 TP, so 2 of them
    )
    known = given._replace(valid=torch.ones_like(given.valid))
    jaccard = DiceLoss(
        jaccard=True, sigmoid=head == "sigmoid", softmax=head == "softmax", smooth_nr=2e-5, smooth_dr=2e-5
    )
    torch.testing.assert_close(
        value(Tversky(fp_weight=1, fn_weight=1, include_background=True), head, known),
        jaccard(given.logits, given.target),
    )


def test_it_is_that_of_monai_with_alpha_on_what_is_found_in_error() -> None:
    given = batch("softmax", 3)
    known = given._replace(valid=torch.ones_like(given.valid))
    torch.testing.assert_close(
        value(Tversky(fp_weight=0.2, fn_weight=0.9), "softmax", known),
        TverskyLoss(include_background=False, softmax=True, alpha=0.2, beta=0.9)(given.logits, given.target),
    )


def test_each_weight_is_of_its_own_error() -> None:
    target = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).reshape(1, 1, 1, 8)
    found = torch.tensor([1.0, 1, 1, 0, 1, 1, 0, 0]).reshape(1, 1, 1, 8)  # 3 hits, 2 in error, 1 missed
    given = Batch(200 * (found - 0.5), target, torch.ones(1, 1, 1, 8))
    loss = Tversky(fp_weight=0.3, fn_weight=0.7)
    assert value(loss, "sigmoid", given).item() == pytest.approx(1 - 3 / (3 + 0.3 * 2 + 0.7 * 1), abs=1e-5)


def test_other_channels_are_refused() -> None:
    refuses_other_channels(Tversky())
