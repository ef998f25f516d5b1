import pytest
from loss_properties import HEADS, Vectors

from medseg.builtin.loss.channels import activation_of, first_channel
from medseg.errors import PipelineError


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_the_head_says_what_makes_probabilities(name: str) -> None:
    assert activation_of(HEADS[name], "dice") == name


def test_channels_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(PipelineError, match="top-k compares probabilities, and the channels of Vectors"):
        activation_of(Vectors(), "top-k")


def test_only_softmax_has_a_background_to_leave_out() -> None:
    assert first_channel("softmax", include_background=False) == 1
    assert first_channel("softmax", include_background=True) == 0
    assert first_channel("sigmoid", include_background=False) == 0
