import numpy as np
import pytest
from medseg_instances.parts import anchors_of, basins, described, grown, seeded, summits
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253

Ids = NDArray[np.int32]
SHAPES = [(40, 36, 1), (20, 18, 16)]


def noise(shape: tuple[int, int, int], seed: int) -> NDArray[np.float32]:
    """Smooth, from 0 to 1."""
    rough = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(rough, [2 if n > 1 else 0 for n in shape])
    found: NDArray[np.float32] = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_seeds_are_parts_in_the_order_of_their_first_voxels(shape: tuple[int, int, int]) -> None:
    height = noise(shape, 0)
    seeds = seeded(height > 0.6, height > 0.0)
    expected, count = ndimage.label(height > 0.6)
    assert seeds.max() == count + (0 if count else 1)
    assert np.array_equal(seeds, expected)
    anchors = anchors_of(seeds)
    flat = np.ravel_multi_index(tuple(anchors.T), shape)
    assert (np.diff(flat) > 0).all()
    assert [int(seeds[tuple(anchor)]) for anchor in anchors] == list(range(1, count + 1))
    assert all(flat[n] == np.flatnonzero(seeds.ravel() == n + 1)[0] for n in range(count))


def test_what_holds_nothing_sure_is_an_object_of_its_own() -> None:
    inside = np.zeros((9, 12, 1), np.bool_)
    inside[1:4, 1:4] = inside[6:8, 2:5] = inside[1:3, 8:11] = True
    sure = np.zeros_like(inside)
    sure[2, 2] = True
    seeds = seeded(sure, inside)
    assert seeds[2, 2, 0] == 1
    assert np.count_nonzero(seeds == 1) == 1
    assert (seeds[1:3, 8:11] == 2).all()
    assert (seeds[6:8, 2:5] == 3).all()
    assert seeds.max() == 3
    assert not seeds[~inside].any()
    likely = np.zeros_like(inside)
    likely[7, 3] = True
    some = seeded(sure, inside, likely)
    assert (some[6:8, 2:5] == 2).all()
    assert some.max() == 2


@pytest.mark.parametrize("shape", SHAPES)
def test_growing_fills_what_seeds_reach_and_nothing_else(shape: tuple[int, int, int]) -> None:
    inside = noise(shape, 1) > 0.45
    seeds = np.zeros(shape, np.int32)
    places = np.argwhere(inside)[:: max(1, np.count_nonzero(inside) // 7)]
    for n, place in enumerate(places, start=1):
        seeds[tuple(place)] = n
    found = grown(seeds, inside)
    reached, _ = ndimage.label(inside, np.ones((3, 3, 3)))
    expected = np.isin(reached, np.unique(reached[seeds > 0])) & inside
    assert np.array_equal(found > 0, expected)
    assert (found[seeds > 0] == seeds[seeds > 0]).all()


def test_seeds_grow_at_one_speed() -> None:
    """Between two seeds in an open plane the border is half-way, and fronts are nearly round."""
    seeds = np.zeros((61, 61, 1), np.int32)
    seeds[30, 15], seeds[30, 45] = 1, 2
    found = grown(seeds, np.ones_like(seeds, np.bool_))
    assert np.count_nonzero(found == 1) == pytest.approx(np.count_nonzero(found == 2), rel=0.04)
    assert (found[:, :29] == 1).all()
    assert (found[:, 32:] == 2).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_basins_are_those_of_walking_uphill(shape: tuple[int, int, int]) -> None:
    height, inside = noise(shape, 3), noise(shape, 4) > 0.3
    seeds = seeded(height > 0.7, inside)
    found = basins(height, seeds, inside)
    walked = 0
    for start in np.argwhere(inside)[::11]:
        place = tuple(int(n) for n in start)
        while seeds[place] == 0:
            around = [
                near
                for step in np.ndindex(3, 3, 3)
                if inside_image(near := tuple(a + b - 1 for a, b in zip(place, step, strict=True)), shape)
                and inside[near]
            ]
            best = max(around, key=lambda near: height[near])
            if height[best] <= height[place]:
                break
            place = best
        if seeds[place]:
            walked += 1
            assert found[tuple(start)] == seeds[place]
    assert walked > 20
    assert not found[~inside].any()


def inside_image(place: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(0 <= a < n for a, n in zip(place, shape, strict=True))


def test_objects_are_described_by_their_voxels() -> None:
    ids: Ids = np.zeros((4, 6, 1), np.int32)
    ids[0, :4], ids[2, :2], ids[3, 5] = 1, 2, 3
    shares = np.zeros((2, 4, 6, 1), np.float32)
    shares[0], shares[1] = 0.2, 0.6
    shares[0, 2], shares[1, 2] = 0.9, 0.1
    found = described(ids, anchors_of(ids), shares, least_voxels=2)
    assert found.labels.tolist() == [1, 0]
    assert found.scores == pytest.approx([0.6, 0.9])
    assert found.anchors.tolist() == [[0, 0, 0], [2, 0, 0]]
    assert found.ids.max() == 2
    assert found.ids[3, 5, 0] == 0


def test_nothing_is_described_as_nothing() -> None:
    ids = np.zeros((4, 6, 3), np.int32)
    found = described(ids, anchors_of(ids), np.zeros((1, 4, 6, 3), np.float32), least_voxels=1)
    assert len(found.anchors) == len(found.labels) == len(found.scores) == 0


def stands_out(height: NDArray[np.float32], place: tuple[int, ...]) -> float:
    """How far one must go down from a place to come to a higher one, by flooding level by level; by faces."""
    top = height[place]
    for level in np.unique(height[height <= top])[::-1]:
        parts, _ = ndimage.label(height >= level)
        if (height[parts == parts[place]] > top).any():
            return float(top - level)
    return float(np.inf)


@pytest.mark.parametrize("shape", [(30, 28, 1), (14, 13, 12)])
@pytest.mark.parametrize("prominence", [0.05, 0.2])
def test_summits_are_the_tops_that_stand_out(shape: tuple[int, int, int], prominence: float) -> None:
    height, least = noise(shape, 8), 0.5
    found = summits(height, height > least, prominence=prominence)
    around = ndimage.generate_binary_structure(3, 1)
    tops = np.argwhere((ndimage.maximum_filter(height, footprint=around) == height) & (height > least))
    expected = {tuple(top) for top in tops if stands_out(height, tuple(top)) >= prominence}
    parts, count = ndimage.label(found)
    assert count == len(expected) > 1
    assert len({int(parts[top]) for top in expected} - {0}) == count
    assert len(expected) < len(tops), "some do not stand out"
    for number in range(1, count + 1):
        hill = height[parts == number]
        assert least < hill.max() < hill.min() + prominence


def test_without_a_prominence_summits_are_what_is_high() -> None:
    height = noise((20, 20, 1), 9)
    assert np.array_equal(summits(height, height > 0.6, prominence=0), height > 0.6)
