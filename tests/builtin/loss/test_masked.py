import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from medseg.builtin.loss.masked import LossModule, Maps, mean_over_known, probabilities


def test_a_sample_counts_as_much_however_much_of_it_is_known() -> None:
    values = torch.tensor([[[1.0, 2.0], [3.0, 100.0]], [[10.0, -5.0], [-6.0, -7.0]]])
    valid = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]], [[[1.0, 0.0], [0.0, 0.0]]]])
    assert mean_over_known(values, valid) == (2.0 + 10.0) / 2


def test_a_sample_of_which_nothing_is_known_counts_zero() -> None:
    values = torch.tensor([[4.0, 6.0], [9.0, 9.0]])
    valid = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    assert mean_over_known(values, valid) == 2.5


def test_probabilities_are_those_of_the_head() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(probabilities(logits, "sigmoid"), torch.sigmoid(logits))
    torch.testing.assert_close(probabilities(logits, "softmax").sum(1), torch.ones(2, 4, 5))


def test_half_precision_is_left_before_anything_is_computed() -> None:
    seen = []

    def note(logits: Tensor, target: Tensor, valid: Tensor, maps: Maps) -> Tensor:
        seen.append(logits.dtype)
        return logits.sum()

    module = LossModule(note)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        module(torch.zeros(1, 1, 2, dtype=dtype), torch.zeros(1, 1, 2), torch.ones(1, 1, 2), {})
    assert seen == [torch.float32, torch.float32, torch.float32, torch.float64]
