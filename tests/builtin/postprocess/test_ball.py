from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt  # noqa: TID253

from medseg.builtin.postprocess.ball import Ball
from medseg.errors import GeometryError
from medseg.volume import Grid

MakeGrid = Callable[..., Grid]
SPACINGS = [(1.0, 1.0, 1.0), (0.7, 1.3, 2.9), (3.1, 0.8, 0.8)]


def offsets(radius_mm: float, spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """All voxels within the radius of the middle one: the ball, written down."""
    sides = [np.arange(-int(radius_mm / s), int(radius_mm / s) + 1) * s for s in spacing]
    i, j, k = np.meshgrid(*sides, indexing="ij")
    return np.asarray(i**2 + j**2 + k**2 <= radius_mm**2 * (1 + 1e-6))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius_mm", [1.0, 2.0, 3.3])
def test_agrees_with_a_structuring_element(
    radius_mm: float, spacing: tuple[float, float, float], oblique: MakeGrid
) -> None:
    random = np.random.default_rng(0)
    ball, element = Ball(radius_mm, oblique((17, 16, 15), spacing), step="open"), offsets(radius_mm, spacing)
    for share in (0.002, 0.02, 0.5):
        mask = random.random((17, 16, 15)) < share
        assert np.array_equal(ball.dilated(mask), binary_dilation(mask, element))
        expected = binary_erosion(~mask, element, border_value=1)  # beyond the border counts as inside
        assert np.array_equal(ball.eroded(~mask), expected)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_agrees_with_the_distances_of_scipy(spacing: tuple[float, float, float], straight: MakeGrid) -> None:
    mask = np.random.default_rng(1).random((20, 18, 16)) < 0.97
    distance = distance_transform_edt(mask, sampling=spacing)
    for radius_mm in (0.9, 1.7, 2.6, 4.05):
        ball = Ball(radius_mm, straight((20, 18, 16), spacing), step="open")
        assert np.array_equal(ball.eroded(mask), distance > radius_mm)
        assert np.array_equal(ball.dilated(~mask), distance <= radius_mm)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_matter(order: Any, straight: MakeGrid) -> None:
    mask = np.random.default_rng(2).random((9, 12, 15)) < 0.9
    ball = Ball(2.0, straight((9, 12, 15), (0.6, 1.0, 1.9)), step="open")
    expected = distance_transform_edt(mask, sampling=(0.6, 1.0, 1.9)) > 2.0
    assert np.array_equal(ball.eroded(np.array(mask, order=order)), expected)
    turned = Ball(2.0, straight((15, 12, 9), (1.9, 1.0, 0.6)), step="open")
    assert np.array_equal(turned.eroded(mask.T), expected.T)


def test_exactly_the_radius_is_within_it_whatever_the_affine_rounds() -> None:
    for step in (0.1, 0.3, 0.7, 0.8, np.float64(np.float32(0.8)), 0.8 * (1 + 1e-6)):
        ball = Ball(
            3 * round(float(step), 3), Grid((11, 11, 11), np.diag([step, step, step, 1])), step="open"
        )
        mask = np.zeros((11, 11, 11), bool)
        mask[5, 5, 5] = True
        line = ball.dilated(mask)[:, 5, 5]
        assert np.flatnonzero(line).tolist() == [2, 3, 4, 5, 6, 7, 8]
        assert np.flatnonzero(~ball.eroded(~mask)[:, 5, 5]).tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_nothing_outside_and_nothing_inside(straight: MakeGrid) -> None:
    ball = Ball(2, straight((5, 5, 5)), step="open")
    assert ball.eroded(np.ones((5, 5, 5), bool)).all()
    assert not ball.dilated(np.zeros((5, 5, 5), bool)).any()


def test_reach_is_in_voxels_and_none_across_a_single_slice(straight: MakeGrid) -> None:
    assert Ball(3, straight((9, 9, 9), (1.0, 1.4, 3.5)), step="close").reach == (3, 2, 0)
    assert Ball(3, straight((9, 9, 1), (1.0, 1.4, 0.1)), step="close").reach == (3, 2, 0)


def test_sheared_grids_and_pixels_are_refused(sheared: MakeGrid) -> None:
    with pytest.raises(
        GeometryError, match=r"open needs axes at right angles; this image's lean by 15\.0 degrees"
    ):
        Ball(3, sheared((9, 9, 9)), step="open")
    with pytest.raises(GeometryError, match="radius_mm of close needs a scale"):
        Ball(3, Grid((9, 9, 1), np.eye(4), "px"), step="close")
    nearly = np.eye(4)
    nearly[0, 1] = 5e-4  # rounding of a header's direction cosines
    assert Ball(1, Grid((3, 3, 3), nearly), step="open").reach == (1, 1, 1)
