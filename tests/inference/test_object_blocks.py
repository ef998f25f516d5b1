"""Blocks cover an image once, are no larger than asked for, and few."""

import math

import numpy as np
import pytest

from medseg.inference.object_blocks import LEAST_VOXELS, MOST_VISITS, Blocks
from medseg.volume import Grid


def blocks(shape: tuple[int, int, int], margin: int, most: int) -> Blocks:
    return Blocks.of(Grid(shape, np.eye(4)), margin=margin, most=most)


@pytest.mark.parametrize(
    "shape", [(90, 70, 80), (400, 400, 1), (300, 20, 200), (1, 1, 5000), (64, 64, 64), (101, 3, 77)]
)
@pytest.mark.parametrize("margin", [1, 6, 64, 1024])
@pytest.mark.parametrize("most", [500, 40_000, 270_000])
def test_cores_cover_all_voxels_once_in_blocks_that_are_no_larger_than_said(
    shape: tuple[int, int, int], margin: int, most: int
) -> None:
    found = blocks(shape, margin, most)
    there = np.zeros(shape, np.uint8)
    read = 0
    for core in found.cores():
        there[tuple(slice(a, b) for a, b in zip(core.low, core.high, strict=True))] += 1
        around = math.prod(found.around(core).shape)
        assert around <= found.largest <= found.most
        read += around
    assert (there == 1).all()
    assert read / there.size <= found.visits + 1e-9
    assert 1 <= found.margin <= margin
    assert found.most <= max(most, LEAST_VOXELS)


def test_voxels_of_a_ct_are_decoded_fewer_than_four_times() -> None:
    """512 x 512 x 400 with objects of 64 voxels, where a voxel takes 116 bytes of 2 GB: two labels."""
    found = blocks((512, 512, 400), 64, 2_000_000_000 // 116)
    assert found.margin == 64
    read = sum(math.prod(found.around(core).shape) for core in found.cores())
    assert read / (512 * 512 * 400) == pytest.approx(3.46, abs=0.01)


def test_thin_volumes_are_cut_across_and_not_into_slices() -> None:
    found = blocks((512, 512, 40), 32, 1 << 21)
    assert found.counts[2] == 1
    assert found.visits < 2.5


def test_what_fits_is_one_block() -> None:
    assert blocks((50, 40, 30), 64, 60_000).counts == (1, 1, 1)


def test_margins_that_leave_no_room_for_cores_are_narrower() -> None:
    found = blocks((512, 512, 512), 256, 1 << 24)
    assert found.largest <= 1 << 24
    assert found.visits <= MOST_VISITS
    assert 50 < found.margin < 128
