"""Distances beside scipy's, whatever axes there are."""

from math import inf

import numpy as np
import pytest
from medseg_instances.distance import distance, finest
from scipy.ndimage import distance_transform_edt  # noqa: TID253


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 2.0), (2.0, 0.7, 0.1)])
@pytest.mark.parametrize("shape", [(20, 17, 9), (20, 17, 1), (1, 17, 20), (30, 1, 1)])
def test_distances_are_scipys_in_the_finest_side(
    shape: tuple[int, int, int], spacing: tuple[float, ...]
) -> None:
    inside = np.random.default_rng(0).random(shape) < 0.9
    inside.reshape(-1)[0] = False
    sides = [side for side, n in zip(spacing, shape, strict=True) if n > 1]
    wanted = distance_transform_edt(inside, sampling=spacing) / min(sides)
    found = distance(inside, spacing)
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, rtol=1e-5)


def test_other_ids_are_as_far_as_the_outside_and_the_images_end_is_none() -> None:
    ids = np.zeros((9, 1, 1), np.uint32)
    ids[:3], ids[3:7] = 70_000, 5
    assert distance(ids, (0.5, 3.0, 3.0)).ravel().tolist() == [3, 2, 1, 1, 2, 2, 1, 0, 0]
    assert distance(np.ones((4, 4, 1), bool), (1.0, 1.0, 1.0)).tolist() == [[[inf]] * 4] * 4
    assert distance(np.ones((1, 1, 1), bool), (1.0, 1.0, 1.0)).tolist() == [[[inf]]]


def test_the_thickness_of_a_single_slice_is_no_side() -> None:
    assert finest((2.0, 3.0, 0.1), (5, 5, 1)) == 2.0
    assert finest((2.0, 3.0, 0.1), (5, 5, 2)) == 0.1
    assert finest((2.0, 3.0, 0.1), (1, 1, 1)) == 1.0
