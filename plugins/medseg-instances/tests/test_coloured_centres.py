import numpy as np
from medseg_instances.coloured_centres import coloured_centres
from touching import balls


def test_middles_are_means() -> None:
    ids = balls((40, 40, 1), [(10, 10), (28, 30)], [7, 5]).astype(np.int64)
    centres, colours = coloured_centres(ids, apart=12)
    assert centres.tolist() == [[10, 10, 0], [28, 30, 0]]
    assert colours.tolist() == [0, 0]


def test_near_objects_have_different_colours() -> None:
    """Four in a row: each is near the next one only."""
    ids = np.zeros((8, 40, 1), np.int64)
    for n in range(4):
        ids[2:6, 10 * n : 10 * n + 5] = n + 1
    _, colours = coloured_centres(ids, apart=11)
    assert colours.tolist() == [0, 1, 0, 1]
    _, colours = coloured_centres(ids, apart=21)
    assert colours.tolist() == [0, 1, 2, 0]


def test_nothing_has_none() -> None:
    centres, colours = coloured_centres(np.zeros((4, 4, 1), np.int64), apart=5)
    assert centres.shape == (0, 3)
    assert colours.shape == (0,)
