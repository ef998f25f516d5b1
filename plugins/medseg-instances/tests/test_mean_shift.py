import numpy as np
from medseg_instances.mean_shift import modes


def grouped(cells: list[list[int]], sizes: tuple[int, ...], *, reach: tuple[int, ...]) -> list[int]:
    found = modes([np.array(each, np.int64) for each in cells], sizes, reach=reach)
    return [int(number) for number in found]


def test_heaps_that_are_further_apart_than_reach_are_two() -> None:
    cells = [[2, 2, 3, 9, 9, 9, 8]]
    assert grouped(cells, (12,), reach=(2,)) == [0, 0, 0, 1, 1, 1, 1]
    assert grouped(cells, (12,), reach=(7,)) == [0] * 7


def test_points_go_to_the_fuller_side() -> None:
    """Cell 4 lies between one of one and one of three points."""
    assert grouped([[3, 4, 5, 5, 5]], (9,), reach=(1,)) == [0] * 5
    assert grouped([[1, 1, 1, 2, 6, 7, 7, 7]], (9,), reach=(2,)) == [0] * 4 + [1] * 4


def test_any_dimension_tells_apart() -> None:
    assert grouped([[3, 3, 3, 3], [1, 1, 1, 1], [0, 0, 3, 3]], (8, 8, 8), reach=(2, 2, 1)) == [0, 0, 1, 1]


def test_clusters_of_normal_points_come_back() -> None:
    """Twenty in four dimensions, 12 cells apart or more, with points that are 1 off each way (one sigma)."""
    rng = np.random.default_rng(0)
    middles = 12 * np.stack(np.unravel_index(rng.choice(6**4, 20, replace=False), (6,) * 4))
    of = np.repeat(np.arange(20), 200)
    points = np.rint(middles[:, of] + rng.normal(0, 0.7, (4, len(of)))).astype(np.int64) + 6
    found = modes(list(points), (84,) * 4, reach=(4,) * 4)
    pairs = np.unique(np.stack([of, found]), axis=1)
    assert pairs.shape == (2, 20)
    assert len(np.unique(pairs[1])) == 20


def test_edges_of_the_space_do_not_meet() -> None:
    """The last cell of a row is no neighbour of the first of the next."""
    assert grouped([[1, 2], [9, 0]], (10, 10), reach=(1, 1)) == [0, 1]


def test_where_points_are_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 20, (3, 500))
    found = modes(list(cells), (20, 20, 20), reach=(2, 2, 1))
    moved = modes(list(cells + np.array([[7], [100], [3]])), (30, 150, 40), reach=(2, 2, 1))
    assert np.array_equal(found, moved)


def test_no_points_have_no_clusters() -> None:
    assert grouped([[], []], (5, 5), reach=(1, 1)) == []
