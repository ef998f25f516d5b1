import numpy as np
import pytest
from scipy.ndimage import generate_binary_structure, label  # noqa: TID253

from medseg.builtin.postprocess.connected_parts import connected_parts
from medseg.components import Connectivity


@pytest.mark.parametrize(("connectivity", "rank"), [(6, 1), (18, 2), (26, 3)])
@pytest.mark.parametrize("shape", [(14, 15, 16), (30, 31, 1)])
def test_agrees_with_scipy(connectivity: Connectivity, rank: int, shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.25
    numbers, sizes = connected_parts(mask, connectivity)
    expected, count = label(mask, generate_binary_structure(3, rank))
    assert len(sizes) == count + 1
    assert sizes[0] == 0
    assert sizes.sum() == mask.sum()
    # the same partition: each number here goes with exactly one there
    pairs = set(zip(numbers.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == count + 1
    assert sorted(sizes[1:]) == sorted(np.bincount(expected.ravel())[1:])


def test_an_empty_mask_has_no_parts() -> None:
    numbers, sizes = connected_parts(np.zeros((3, 3, 3), bool), 26)
    assert not numbers.any()
    assert sizes.tolist() == [0]


def test_sizes_of_a_mask_larger_than_a_chunk() -> None:
    mask = np.ones((1200, 1200, 4), bool)  # 5.8 million voxels
    mask[700] = False
    _, sizes = connected_parts(mask, 26)
    assert sizes.tolist() == [0, 700 * 1200 * 4, 499 * 1200 * 4]
