"""Simple bodies against their closed-form volumes, on straight, oblique, sheared and anisotropic grids."""

from collections.abc import Callable
from math import pi

import numpy as np
import pytest

from medseg.errors import GeometryError, UsageError
from medseg.testing.phantoms import Occupancy, box, cylinder, ellipsoid, labelled, occupancy, sphere
from medseg.volume import Grid


def straight() -> Grid:
    return Grid((56, 60, 64), np.diag([1.0, 1.0, 1.0, 1.0]))


def anisotropic() -> Grid:
    affine = np.diag([-0.8, -0.9, 5.0, 1.0])
    affine[:3, 3] = 40, -12, 333
    return Grid((70, 66, 14), affine)


def oblique() -> Grid:
    turn = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.1, 0.9, 2.5])
    return Grid((64, 76, 28), affine)


def sheared() -> Grid:
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 1.1  # a gantry tilt of 20 degrees
    return Grid((60, 76, 24), affine)


GRIDS = (straight(), anisotropic(), oblique(), sheared())
NAMES = ("straight", "anisotropic", "oblique", "sheared")


def ml(filled: Occupancy, grid: Grid) -> float:
    return float(filled.sum(dtype=np.float64)) * grid.voxel_ml


@pytest.mark.parametrize("grid", GRIDS, ids=NAMES)
@pytest.mark.parametrize(
    ("draw", "expected_ml"),
    [
        (lambda grid: sphere(20.0, grid), 33.5103),
        (lambda grid: ellipsoid((22.0, 15.0, 18.0), grid), 4 / 3 * pi * 22 * 15 * 18 / 1000),
        (lambda grid: box((31.0, 23.5, 37.25), grid), 31 * 23.5 * 37.25 / 1000),
        (lambda grid: cylinder(14.0, 41.0, grid), pi * 14**2 * 41 / 1000),
    ],
    ids=["sphere", "ellipsoid", "box", "cylinder"],
)
def test_volume_is_the_closed_form(draw: Callable[[Grid], Occupancy], expected_ml: float, grid: Grid) -> None:
    filled = draw(grid)
    assert ml(filled, grid) == pytest.approx(expected_ml, rel=3e-3)
    assert filled.min() == 0
    assert filled.max() == 1


def test_a_sphere_of_20_mm_radius_holds_33_51_ml() -> None:
    assert ml(sphere(20.0, straight()), straight()) == pytest.approx(33.51, abs=0.01)


@pytest.mark.parametrize("grid", GRIDS, ids=NAMES)
def test_the_centre_is_where_it_was_put_in_world_millimetres(grid: Grid) -> None:
    wanted = grid.centre + np.array([3.3, -2.1, 1.7])
    filled = sphere(12.0, grid, tuple(wanted.tolist()))
    index = np.argwhere(filled > 0)
    found = np.average(grid.to_world(index), axis=0, weights=filled[filled > 0])
    assert found == pytest.approx(wanted, abs=0.02)


def test_axes_of_a_body_are_world_axes_not_grid_axes() -> None:
    grid = straight()
    turned = grid.reoriented("SRA")
    there = box((10.0, 20.0, 30.0), turned)
    assert np.array_equal(there, box((10.0, 20.0, 30.0), grid).transpose(2, 0, 1))


def test_a_voxel_cut_in_half_is_half_full() -> None:
    grid = Grid((9, 9, 9), np.eye(4))
    filled = box((4.0, 5.0, 5.0), grid, (4.0, 4.0, 4.0))
    assert filled[:, 4, 4].tolist() == [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0]


def test_a_body_smaller_than_a_voxel_is_not_lost() -> None:
    grid = Grid((5, 5, 5), np.diag([4.0, 4.0, 4.0, 1.0]))
    filled = sphere(1.5, grid)
    assert filled[2, 2, 2] * 64 == pytest.approx(4 / 3 * pi * 1.5**3, rel=0.04)
    assert np.count_nonzero(filled) == 1


def test_the_mask_is_what_is_half_full() -> None:
    grid = straight()
    ball = labelled("ball", sphere(20.0, grid), grid)
    assert ball.mask("ball").sum() * grid.voxel_ml == pytest.approx(33.51, rel=5e-3)
    inside = np.linalg.norm(grid.to_world(np.argwhere(ball.mask("ball"))) - grid.centre, axis=1)
    assert inside.max() < 20.5


def test_any_distance_can_be_drawn() -> None:
    grid = straight()
    slab = occupancy(lambda world: np.asarray(world[..., 2] - 0.25), grid)
    assert slab[0, 0, :].sum() == pytest.approx(32.25)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda grid: sphere(0.0, grid),
        lambda grid: box((1.0, -1.0, 1.0), grid),
        lambda grid: cylinder(float("nan"), 2.0, grid),
    ],
)
def test_lengths_must_be_positive(wrong: Callable[[Grid], Occupancy]) -> None:
    with pytest.raises(UsageError, match="give positive lengths"):
        wrong(straight())


def test_a_picture_without_a_scale_is_refused() -> None:
    with pytest.raises(GeometryError, match="pixels"):
        sphere(3.0, Grid((8, 8, 1), np.eye(4), "px"))
