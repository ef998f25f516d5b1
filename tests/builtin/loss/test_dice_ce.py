import pytest
import torch  # noqa: TID253
from loss_properties import batch, keeps_its_promises, refuses_other_channels, value
from monai.losses.dice import DiceCELoss  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.loss.cross_entropy import CrossEntropy
from medseg.builtin.loss.dice import Dice
from medseg.builtin.loss.dice_ce import DiceCe


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_keeps_the_promises_of_a_loss(head: str, dims: int) -> None:
    keeps_its_promises(DiceCe(), head, dims)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_it_is_the_weighted_sum_of_both(head: str) -> None:
    given = batch(head, 2)
    dice, entropy = value(Dice(), head, given), value(CrossEntropy(), head, given)
    torch.testing.assert_close(value(DiceCe(), head, given), dice + entropy)
    torch.testing.assert_close(
        value(DiceCe(dice_weight=0.25, ce_weight=3), head, given), 0.25 * dice + 3 * entropy
    )
    torch.testing.assert_close(value(DiceCe(ce_weight=0), head, given), dice)


def test_its_parameters_reach_both() -> None:
    given = batch("softmax", 2)
    loss = DiceCe(weights=(0.1, 1, 2), include_background=True, smooth=1)
    parts = Dice(include_background=True, smooth=1), CrossEntropy(weights=(0.1, 1, 2))
    expected = value(parts[0], "softmax", given) + value(parts[1], "softmax", given)
    torch.testing.assert_close(value(loss, "softmax", given), expected)


def test_it_is_that_of_monai_where_all_is_known() -> None:
    given = batch("softmax", 3)
    known = given._replace(valid=torch.ones_like(given.valid))
    torch.testing.assert_close(
        value(DiceCe(include_background=True), "softmax", known),
        DiceCELoss(softmax=True)(given.logits, given.target),
    )


def test_what_does_not_fit_is_refused() -> None:
    refuses_other_channels(DiceCe())
    with pytest.raises(ValidationError, match="nothing is left to train on"):
        DiceCe(dice_weight=0, ce_weight=0)
