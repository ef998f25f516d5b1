import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter  # noqa: TID253

from medseg.builtin.signed_distance import signed_distance, smoothed_distance

SPACING = (0.8, 1.1, 2.5)


def test_agrees_with_scipy_on_both_sides() -> None:
    mask = np.random.default_rng(0).random((20, 19, 18)) < 0.3
    inside = distance_transform_edt(mask, sampling=SPACING)
    outside = distance_transform_edt(~mask, sampling=SPACING)
    field = signed_distance(mask, SPACING)
    assert field.dtype == np.float32
    assert field == pytest.approx(inside - outside, abs=1e-4)
    assert np.array_equal(field > 0, mask)


def test_the_border_of_the_array_is_no_outline() -> None:
    mask = np.zeros((9, 5, 5), bool)
    mask[:4] = True
    assert signed_distance(mask, (2.0, 1.0, 1.0))[:, 2, 2].tolist() == [8, 6, 4, 2, -2, -4, -6, -8, -10]


def test_smoothed_as_by_scipy() -> None:
    mask = np.random.default_rng(1).random((20, 19, 18)) < 0.5
    expected = gaussian_filter(
        signed_distance(mask, SPACING).astype(np.float64), (1.5, 1, 0), mode="nearest", truncate=3
    )
    assert smoothed_distance(mask, SPACING, (1.5, 1, 0)) == pytest.approx(expected, abs=1e-4)
