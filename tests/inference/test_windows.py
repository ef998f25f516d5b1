from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import UsageError
from medseg.inference.windows import Windows

sides = st.integers(1, 40)


@given(size=sides, patch=sides, overlap=st.floats(0, 0.9))
def test_windows_reach_from_face_to_face_and_overlap_as_asked(size: int, patch: int, overlap: float) -> None:
    starts = Windows((size, 1, 1), (patch, 1, 1), overlap).starts(0)
    if size <= patch:
        (start,) = starts
        assert start <= 0
        assert start + patch >= size
        assert abs((start + patch - size) - -start) <= 1  # as far on one side as on the other
        return
    assert starts[0] == 0
    assert starts[-1] + patch == size
    for one, following in pairwise(starts):
        assert one < following
        assert one + patch - following >= np.ceil(patch * overlap - 1e-9) - 1  # one less by rounding starts


@pytest.mark.parametrize(
    ("size", "patch", "overlap", "starts"),
    [
        (10, 4, 0.5, (0, 2, 4, 6)),
        (10, 4, 0.0, (0, 3, 6)),
        (8, 4, 0.0, (0, 4)),
        (4, 4, 0.5, (0,)),
        (3, 6, 0.5, (-1,)),
        (1, 1, 0.5, (0,)),
        (3, 1, 0.9, (0, 1, 2)),
    ],
)
def test_starts_that_can_be_counted_by_hand(
    size: int, patch: int, overlap: float, starts: tuple[int, ...]
) -> None:
    assert Windows((1, size, 1), (1, patch, 1), overlap).starts(1) == starts


def test_the_slab_lies_along_the_axis_that_is_longest_beside_its_patch() -> None:
    windows = Windows((100, 64, 300), (64, 64, 64))
    assert windows.axis == 2
    assert windows.slab(2) == (100, 64, 64)
    assert Windows((100, 64, 300), (16, 64, 96)).axis == 0
    assert Windows((256, 256, 30), (128, 128, 1)).axis == 2
    assert len(Windows((10, 8, 4), (4, 4, 4))) == 4 * 3 * 1


def test_the_gaussian_is_an_eighth_of_the_patch_wide_and_symmetric() -> None:
    weight = Windows((33, 1, 7), (33, 1, 7)).importance()
    assert weight.dtype == np.float32
    assert weight[16, 0, 3] == 1
    assert weight[16 + 4, 0, 3] == pytest.approx(np.exp(-0.5 * (4 / (33 / 8)) ** 2), rel=1e-6)
    assert np.array_equal(weight, weight[::-1, :, ::-1])
    assert np.allclose(
        weight[:, 0], weight[:, 0, [3]] * weight[[16], 0], rtol=1e-6
    )  # separable to the corners
    assert Windows((99, 99, 99), (99, 99, 99)).importance().min() > np.exp(-24)
    assert (Windows((4, 4, 4), (4, 2, 3), blend="constant").importance() == np.ones((4, 2, 3))).all()


def test_an_empty_patch_or_full_overlap_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one voxel"):
        Windows((4, 4, 4), (4, 0, 4))
    with pytest.raises(UsageError, match="less than 1"):
        Windows((4, 4, 4), (4, 4, 4), overlap=1.0)
