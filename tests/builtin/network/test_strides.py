import pytest

from medseg.builtin.network.strides import divisor, per_axis


def test_one_number_counts_for_every_axis() -> None:
    assert per_axis([2, (1, 2, 3)], 3) == [(2, 2, 2), (1, 2, 3)]
    assert divisor([2, (1, 2, 3)], 3) == (2, 4, 6)
    assert divisor([], 2) == (1, 1)


def test_another_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stride \[1, 2\] has 2 numbers, and the network has 3 axes"):
        per_axis([(1, 2)], 3)
