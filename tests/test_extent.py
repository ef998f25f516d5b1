"""The box around a mask, and margins in voxels, on axes at right angles and on leaning ones."""

import numpy as np

from medseg.extent import extent, margin_voxels
from medseg.volume import Grid


def test_the_box_holds_what_is_not_0() -> None:
    mask = np.zeros((8, 9, 10), np.uint8)
    mask[2, 3, 1] = mask[3, 7, 1] = 5
    assert extent(mask) == (slice(2, 4), slice(3, 8), slice(1, 2))
    assert extent(mask > 9) is None


def test_a_margin_reaches_as_far_from_each_face() -> None:
    grid = Grid((8, 9, 10), np.array([[0.0, -2.0, 0, 5], [1.0, 0, 0, -7], [0, 0, 5.0, 9], [0, 0, 0, 1]]))
    assert margin_voxels(grid, 0) == (0, 0, 0)
    assert margin_voxels(grid, 4.0) == (4, 2, 1)
    assert margin_voxels(grid, 4.1) == (5, 3, 1)


def test_under_shear_a_margin_is_square_to_the_faces() -> None:
    """Planes of k lie 1 mm apart along an axis that leans by 60 degrees: 0.5 mm from face to face."""
    lean = np.radians(60)
    affine = np.eye(4)
    affine[:3, 2] = np.sin(lean), 0, np.cos(lean)
    grid = Grid((8, 8, 8), affine)
    assert margin_voxels(grid, 3.0) == (6, 3, 6)
    corners = np.array([[a, b, c] for a in (0, 6) for b in (0, 3) for c in (0, 6)])
    assert np.ptp(grid.to_world(corners)[:, 2]) >= 3.0
