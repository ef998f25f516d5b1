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


def test_blocks_lie_side_by_side_along_the_longer_axis_of_the_plane() -> None:
    windows = Windows((100, 64, 300), (64, 64, 64))
    assert windows.across == 0
    assert Windows((100, 164, 300), (64, 64, 64)).across == 1
    regions = windows.regions(3)
    assert [(r[0].start, r[0].stop) for r in regions] == [(0, 33), (33, 67), (67, 100)]
    assert all(r[1:] == (slice(0, 64), slice(0, 300)) for r in regions)
    assert windows.slab(2, blocks=3) == (34, 64, 64)
    assert windows.slab(2, blocks=3, halo=1) == (35, 64, 65)
    assert windows.slab(2, halo=1) == (100, 64, 65)
    for wrong in (0, 101):
        with pytest.raises(UsageError, match="1 to 100 blocks"):
            windows.regions(wrong)


def test_windows_at_a_seam_are_counted_on_both_sides() -> None:
    windows = Windows((20, 8, 12), (8, 8, 4), overlap=0.5)
    assert (windows.axis, windows.across) == (2, 0)
    assert windows.starts(0) == (0, 4, 8, 12)
    low, high = windows.regions(2)  # 0 to 10, 10 to 20
    assert {i for i, _, _ in windows.places(low)} == {0, 4, 8}
    assert {i for i, _, _ in windows.places(high)} == {4, 8, 12}
    assert {i for i, _, _ in windows.places(high, halo=3)} == {0, 4, 8, 12}
    assert windows.evaluations() == len(windows) == 4 * len(windows.starts(2))
    assert windows.evaluations(blocks=2) == 6 * len(windows.starts(2))
    assert windows.evaluations(blocks=2, halo=3) == 7 * len(windows.starts(2))


@given(
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    patch=st.tuples(*[st.integers(1, 6)] * 3),
    halo=st.integers(0, 2),
)
def test_each_voxel_meets_its_windows_in_one_order_in_any_block(
    shape: tuple[int, int, int], patch: tuple[int, int, int], halo: int
) -> None:
    windows = Windows(shape, patch)
    ((*everything,),) = [windows.places(region) for region in windows.regions(1)]
    assert len(everything) == len(set(everything)) == len(windows)
    assert [p[windows.axis] for p in everything] == sorted(p[windows.axis] for p in everything)
    for blocks in range(1, min(4, shape[windows.across]) + 1):
        count = 0
        for region in windows.regions(blocks):
            met = [
                place
                for place in everything
                if all(
                    set(range(start, start + side)) & set(range(part.start - halo, part.stop))
                    for start, side, part in zip(place, patch, region, strict=True)
                )
            ]
            assert list(windows.places(region, halo=halo)) == met
            count += len(met)
        assert windows.evaluations(blocks=blocks, halo=halo) == count
