"""Components beside scipy's, whatever the shape and however tightly they lie."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label  # noqa: TID253

from medseg.components import Connectivity, components


def of_each_value(layer: NDArray[np.uint8], rank: int) -> NDArray[np.int64]:
    """Scipy knows masks only."""
    found, count = np.zeros(layer.shape, np.int64), 0
    for value in np.unique(layer[layer > 0]):
        here, n = label(layer == value, generate_binary_structure(3, rank))
        found[here > 0], count = here[here > 0] + count, count + n
    return found


@pytest.mark.parametrize(("connectivity", "rank"), [(6, 1), (18, 2), (26, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_partition_is_scipys(connectivity: Connectivity, rank: int, order: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(150):
        shape = random.integers(1, 7, 3)
        layer = (random.random(shape) < random.choice([0.1, 0.5, 0.9])) * random.integers(1, 4, shape)
        layer[::2, ::2, ::2] = 1  # as many as there may be
        layer = np.asarray(layer.astype(np.uint8), order=order)  # type: ignore[call-overload]
        numbers, count = components(layer, connectivity)
        wanted = of_each_value(layer, rank)
        pairs = set(zip(numbers.ravel().tolist(), wanted.ravel().tolist(), strict=True))
        assert len(pairs) == len(np.unique(wanted)) == len(np.unique(numbers))
        assert count == wanted.max() == numbers.max()
        assert numbers.flags.c_contiguous if order == "C" else numbers.flags.f_contiguous


@pytest.mark.parametrize("shape", [(1, 3, 1), (3, 3, 3), (9, 9, 1), (5, 1, 7)])
def test_single_voxels_as_tight_as_may_be_are_one_each(shape: tuple[int, int, int]) -> None:
    layer = np.zeros(shape, bool)
    layer[::2, ::2, ::2] = True
    numbers, count = components(layer, 26)
    assert count == layer.sum()
    assert sorted(numbers[layer].tolist()) == list(range(1, count + 1))


def test_those_of_a_large_array_are_found_too() -> None:
    layer = np.zeros((161, 171, 181), bool)
    layer[::2, ::2, ::2] = True
    assert components(layer, 26)[1] == 81 * 86 * 91
