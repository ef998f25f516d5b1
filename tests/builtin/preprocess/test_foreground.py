import numpy as np
import pytest

from medseg.builtin.preprocess.foreground import check_foreground, inside
from medseg.errors import InputError


def test_marks_what_is_asked_for() -> None:
    array = np.array([-2, 0, 0, 3, 9])
    nonzero, above = inside(array, "nonzero", None), inside(array, "above", 3)
    assert inside(array, "whole", None) is None
    assert np.asarray(nonzero).tolist() == [True, False, False, True, True]
    assert np.asarray(above).tolist() == [False, False, False, False, True]


def test_zeros_have_an_empty_foreground_but_a_threshold_above_all_is_an_error() -> None:
    assert not np.asarray(inside(np.zeros(4), "nonzero", None)).any()
    with pytest.raises(InputError, match=r"no voxel is above 9 \(the largest is 8.5\)"):
        inside(np.array([1, 8.5]), "above", 9)


def test_threshold_and_choice_must_agree() -> None:
    check_foreground("above", 0)
    check_foreground("whole", None)
    with pytest.raises(ValueError, match="needs a value in above"):
        check_foreground("above", None)
    with pytest.raises(ValueError, match="not with nonzero"):
        check_foreground("nonzero", 2)
