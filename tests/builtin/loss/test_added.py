import pytest
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from medseg.builtin.loss.added import Added
from medseg.builtin.loss.masked import Maps


class Constant(nn.Module):
    """Gives its own parameter, or the mean of a map."""

    def __init__(self, number: float, name: str | None = None) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(number))
        self.name = name

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        return self.number * (1.0 if self.name is None else maps[self.name].mean())


class Failing(nn.Module):
    """Must not be called."""

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        raise AssertionError


ONE = torch.ones(1, 1, 2, 2)


def test_values_times_weights_are_added() -> None:
    module = Added([Constant(2.0), Constant(5.0), Failing()], [1, 0.5, 0])
    assert module(ONE, ONE, ONE, {}).item() == 2 + 0.5 * 5


def test_each_sees_its_own_maps() -> None:
    module = Added([Constant(1.0, "phi"), Constant(1.0, "phi")], [1, 1])
    assert module(ONE, ONE, ONE, {"0-phi": 3 * ONE, "1-phi": 40 * ONE}).item() == 43
    with pytest.raises(KeyError):
        module(ONE, ONE, ONE, {"phi": ONE})


def test_parameters_of_losses_can_be_trained() -> None:
    assert len(list(Added([Constant(2.0), Constant(5.0)], [1, 1]).parameters())) == 2
