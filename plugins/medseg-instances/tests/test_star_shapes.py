from itertools import pairwise

import numpy as np
import pytest
from medseg_instances import star_shapes
from medseg_instances.rays import directions
from medseg_instances.star_shapes import best_apart, painted, star, voxels_of
from numpy.typing import NDArray
from scipy.spatial import ConvexHull  # noqa: TID253

COUNTS = ((2, 16), (3, 32))


def padded_image(axes: int) -> tuple[int, ...]:
    return (60, 70) if axes == 2 else (40, 42, 44)


def random_shapes(axes: int, rays: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Centres in the image, and rays of 2 to 9."""
    rng = np.random.default_rng(axes)
    padded = padded_image(axes)
    places = [rng.integers(10, n - 10, count) for n in padded]
    lengths = rng.uniform(2, 6, (count, 1)) * rng.uniform(0.7, 1.5, (count, rays))
    return np.ravel_multi_index(tuple(places), padded), lengths.astype(np.float32)


def by_hand(centre: int, lengths: NDArray[np.float32], axes: int) -> set[int]:
    """Voxels of one shape, each held against each pair or triangle of rays."""
    padded, ways = padded_image(axes), directions(axes, len(lengths)).astype(np.float64)
    if axes == 2:
        faces = [(n, (n + 1) % len(ways)) for n in range(len(ways))]
    else:
        faces = [tuple(face) for face in ConvexHull(ways).simplices]
    place = np.indices(padded).reshape(axes, -1)
    offsets = place - np.reshape(np.unravel_index(centre, padded), (axes, 1))
    inside: NDArray[np.bool_] = np.logical_not(offsets.any(axis=0))
    for face in faces:
        parts = np.linalg.solve(ways[list(face)].T, offsets.astype(np.float64))
        between = (parts >= -1e-9).all(axis=0) & (parts.sum(axis=0) > 0)
        share = parts[:, between] / parts[:, between].sum(axis=0)
        radius = 1 / (share / np.reshape(lengths[list(face)], (axes, 1))).sum(axis=0)
        inside[between] |= np.linalg.norm(offsets[:, between], axis=0) <= radius * (1 + 1e-5)
    return set(np.flatnonzero(inside).tolist())


@pytest.mark.parametrize("axes", [2, 3])
def test_rays_of_one_length_make_a_ball(axes: int) -> None:
    padded, rays = padded_image(axes), 8 * axes
    centre = np.ravel_multi_index(tuple(n // 2 for n in padded), padded)
    bodies = star((1.0,) * axes, rays, 16)
    lengths = np.full((1, rays), 7.3, np.float32)
    found = voxels_of(bodies, np.array([centre]), lengths, padded)
    place = np.indices(padded) - np.reshape([n // 2 for n in padded], (axes, *(1,) * axes))
    assert sorted(found.places) == np.flatnonzero((place**2).sum(axis=0) <= 7.3**2).tolist()


def test_where_voxels_are_long_a_ball_is_of_fewer() -> None:
    padded = padded_image(3)
    centre = np.ravel_multi_index(tuple(n // 2 for n in padded), padded)
    found = voxels_of(star((1.0, 1.0, 2.5), 32, 16), np.array([centre]), np.full((1, 32), 8.2, "f4"), padded)
    place = np.indices(padded) - np.reshape([n // 2 for n in padded], (3, 1, 1, 1))
    far = (place[0] ** 2 + place[1] ** 2 + (2.5 * place[2]) ** 2) <= 8.2**2
    assert sorted(found.places) == np.flatnonzero(far).tolist()


@pytest.mark.parametrize(("axes", "rays"), COUNTS)
def test_voxels_are_those_that_a_test_of_each_face_finds(axes: int, rays: int) -> None:
    centres, lengths = random_shapes(axes, rays, 12 if axes == 2 else 2)
    found = voxels_of(star((1.0,) * axes, rays, 16), centres, lengths, padded_image(axes))
    for (start, stop), centre, mine in zip(pairwise(found.starts), centres.tolist(), lengths, strict=True):
        assert set(found.places[start:stop].tolist()) == by_hand(centre, mine, axes)


@pytest.mark.parametrize(("axes", "rays"), COUNTS)
@pytest.mark.parametrize("overlap", [0.0, 0.3])
@pytest.mark.parametrize("pile", [1 << 24, 1500])
def test_the_best_apart_are_those_of_brute_force(
    axes: int, rays: int, overlap: float, pile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shape against each better one that stays, as sets of voxels; all at once, and in many lots."""
    monkeypatch.setattr(star_shapes, "PILE", pile)
    monkeypatch.setattr(star_shapes, "ROOM", 1 / pile)
    monkeypatch.setattr(star_shapes, "AT_ONCE", pile)
    centres, lengths = random_shapes(axes, rays, 150 if axes == 2 else 60)
    bodies, padded = star((1.0,) * axes, rays, 16), padded_image(axes)
    shapes = voxels_of(bodies, centres, lengths, padded)
    sets = [set(shapes.places[start:stop].tolist()) for start, stop in pairwise(shapes.starts)]
    wanted: list[int] = []
    for number, mine in enumerate(sets):
        shared = [len(mine & sets[better]) / min(len(mine), len(sets[better])) for better in wanted]
        if not any(part > overlap for part in shared):
            wanted.append(number)
    stay, found = best_apart(bodies, centres, lengths, padded, overlap=overlap)
    assert stay.tolist() == wanted
    assert len(wanted) < len(centres)
    for (start, stop), number in zip(pairwise(found.starts), wanted, strict=True):
        assert set(found.places[start:stop].tolist()) == sets[number]


def test_no_shapes_give_none() -> None:
    stay, found = best_apart(
        star((1.0, 1.0), 8, 4), np.zeros(0, np.int64), np.zeros((0, 8), np.float32), (9, 9), overlap=0.5
    )
    assert len(stay) == len(found.places) == 0


def test_a_voxel_of_two_shapes_is_of_the_one_that_it_lies_deeper_in() -> None:
    """Between discs of 9 and 6 about 12 apart the border is where both are as far in proportion: at 7.2."""
    padded = (40, 40)
    centres = np.array([20 * 40 + 12, 20 * 40 + 24])
    lengths = np.stack([np.full(32, 9.0), np.full(32, 6.0)]).astype(np.float32)
    ids = painted(star((1.0, 1.0), 32, 16), centres, lengths, padded)
    assert ids[20, 12:31].tolist() == [1] * 8 + [2] * 11
    wide = painted(star((1.0, 1.0), 32, 16), centres, lengths, padded, beyond=1.5)
    assert wide[20, 12:35].tolist() == [1] * 8 + [2] * 14 + [0]
    assert np.array_equal(np.where((ids > 0) & (wide > 0), ids - wide, 0), np.zeros(padded))
