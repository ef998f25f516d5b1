import time

import numpy as np
import pytest
from medseg_instances.rays import directions, distances, mirrored_rays, relative
from touching import balls

COUNTS = ((2, 32), (3, 96))


def ball(radius: float, axes: int, at: tuple[float, ...] = (0, 0, 0)) -> np.ndarray:
    """Ids of a ball about the middle of an array, moved by `at`."""
    n = 2 * int(radius) + 7
    shape = (n, n, n if axes == 3 else 1)
    centre = [n // 2 + move for move in at]
    ids = balls(shape, [centre if axes == 3 else [*centre[:2], 0]], [radius])
    return ids if axes == 3 else ids[..., 0]


@pytest.mark.parametrize(("axes", "rays"), [(2, 32), (2, 12), (3, 96), (3, 32)])
def test_directions_are_units_and_have_exact_mirror_images(axes: int, rays: int) -> None:
    there = directions(axes, rays)
    assert there.shape == (rays, axes)
    assert np.allclose(np.linalg.norm(there, axis=1), 1)
    for axis in range(axes):
        mirror = np.where(np.arange(axes) == axis, -1, 1)
        order = mirrored_rays(axes, rays, axis)
        assert np.array_equal(there[order], there * mirror + 0.0)
        assert np.array_equal(order[order], np.arange(rays))


def test_directions_are_spread_evenly() -> None:
    """Every ray of 96 has its nearest about as far away as all others have."""
    cosines = directions(3, 96) @ directions(3, 96).T
    np.fill_diagonal(cosines, -1)
    nearest = np.degrees(np.arccos(cosines.max(axis=1)))
    assert nearest.min() > 17
    assert nearest.max() < 22


@pytest.mark.parametrize(("axes", "rays"), COUNTS)
def test_all_rays_of_a_ball_are_its_radius_to_half_a_voxel(axes: int, rays: int) -> None:
    for radius in np.arange(4.0, 13.0, 0.7 if axes == 2 else 1.7):
        ids = ball(radius, axes)
        found = distances(ids, (1.0,) * axes, rays, most=64)
        middle = found[(slice(None), *(n // 2 for n in ids.shape))]
        assert np.abs(middle - radius).max() <= 0.5


@pytest.mark.parametrize(("axes", "rays"), COUNTS)
def test_rays_from_beside_the_middle_end_at_the_surface(axes: int, rays: int) -> None:
    ids, move = ball(10, axes), np.array([4, -3, 2][:axes])
    found = distances(ids, (1.0,) * axes, rays, most=64)
    along = directions(axes, rays) @ move
    wanted = np.sqrt(along**2 - move @ move + 100) - along
    off = found[(slice(None), *(n // 2 + step for n, step in zip(ids.shape, move, strict=True)))] - wanted
    assert np.abs(off).max() < 0.75
    assert np.abs(off).mean() < 0.3


def test_lengths_are_in_the_finest_voxels() -> None:
    """A ball of 10 mm in voxels of 1 x 1 x 2 mm; along k it is known to half a voxel, 1 mm."""
    place = np.indices((27, 27, 15)) - np.reshape([13, 13, 7], (3, 1, 1, 1))
    ids = ((place * np.reshape([1, 1, 2], (3, 1, 1, 1))) ** 2).sum(axis=0) <= 100
    sides = relative((3.0, 3.0, 6.0), 3)
    found = distances(ids.astype(np.uint32), sides, 96, most=64)[:, 13, 13, 7]
    assert np.abs(found - 10).max() < 1


def test_what_touches_is_outside() -> None:
    ids = np.ones((21, 41), np.uint32)
    ids[:, 20:] = 2
    found = distances(ids, (1.0, 1.0), 4, most=64)
    ways = directions(2, 4)
    right, left = (int(np.flatnonzero((ways == way).all(axis=1))[0]) for way in ((0, 1), (0, -1)))
    assert found[right, 10, 10:20].tolist() == [9.5 - n for n in range(10)]
    assert found[left, 10, 20:30].tolist() == [0.5 + n for n in range(10)]


def test_rays_that_leave_the_image_are_at_least_so_long() -> None:
    """A disc of which the image shows a bit more than half."""
    place = np.indices((26, 41)) - np.reshape([5, 20], (2, 1, 1))
    found = distances(((place**2).sum(axis=0) <= 225).astype(np.uint32), (1.0, 1.0), 32, most=64)[:, 5, 20]
    leaves = -directions(2, 32)[:, 0] * 15 > 6
    assert (found[leaves] < 0).all()
    assert found[leaves] == pytest.approx(5.5 / directions(2, 32)[leaves, 0], abs=0.3)
    open_ended = -directions(2, 32)[:, 0] * 15 > 5
    assert np.abs(found[~open_ended] - 15).max() <= 0.5


@pytest.mark.parametrize(("axes", "rays"), COUNTS)
def test_a_mirrored_image_has_mirrored_rays(axes: int, rays: int) -> None:
    ids = balls((16, 18, 14), [(6, 7, 5), (11, 12, 9)], [5.5, 5])
    ids = ids if axes == 3 else ids[..., 6]
    found = distances(ids, (1.0,) * axes, rays, most=64)
    for axis in range(axes):
        mirrored = distances(np.flip(ids, axis), (1.0,) * axes, rays, most=64)
        back = np.flip(mirrored, 1 + axis)[mirrored_rays(axes, rays, axis)]
        assert np.array_equal(np.sign(back), np.sign(found))
        assert np.allclose(back, found, atol=1e-4)


def test_rays_end_at_the_most_and_are_0_outside() -> None:
    found = distances(ball(12, 2), (1.0, 1.0), 8, most=5)
    assert found.max() == 5
    assert not found[:, ball(12, 2) == 0].any()


def test_a_single_voxel_has_short_rays() -> None:
    ids = np.zeros((5, 5), np.uint32)
    ids[2, 2] = 7
    found = distances(ids, (1.0, 1.0), 8, most=64)[:, 2, 2]
    assert ((found > 0.2) & (found < 0.8)).all()


def test_a_patch_takes_a_moment() -> None:
    """256 x 256 voxels, three quarters of them in objects, 32 rays: about 0.1 s of one core."""
    ids = np.kron(np.arange(1, 170).reshape(13, 13), np.pad(np.ones((18, 18), np.uint32), 1))[:256, :256]
    start = time.process_time()
    distances(ids.astype(np.uint32), (1.0, 1.0), 32, most=64)
    assert time.process_time() - start < 1.0  # several times what it takes, for slower machines
