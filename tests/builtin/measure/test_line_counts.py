import numpy as np
import pytest

from medseg.builtin.measure.line_counts import counts_along, mean_index


@pytest.mark.parametrize("shape", [(3, 4, 5), (700, 2, 3), (2, 256, 3), (4, 3, 511)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_counts_are_sums_also_of_lines_longer_than_a_byte_counts(
    shape: tuple[int, int, int], order: str, share: float
) -> None:
    mask = np.asarray(np.random.default_rng(0).random(shape) <= share)
    mask = mask.T.copy().T if order == "F" else mask
    for axis in range(3):
        assert np.array_equal(counts_along(mask, axis), mask.sum(axis=axis))
        assert np.array_equal(counts_along(mask[::2, 1:], axis), mask[::2, 1:].sum(axis=axis))


def test_the_mean_index_is_that_of_all_voxels() -> None:
    mask = np.random.default_rng(1).random((6, 7, 300)) < 0.2
    assert mean_index(mask) == pytest.approx(np.argwhere(mask).mean(axis=0), rel=1e-12)
