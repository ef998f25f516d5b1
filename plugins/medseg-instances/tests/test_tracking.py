import numpy as np
import pytest
from medseg_instances.flow_target import flows_of
from medseg_instances.tracking import clustered, tracked
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates  # noqa: TID253
from touching import balls

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def followed(flows: Floats, inside: Mask, steps: int) -> NDArray[np.int64]:
    """Where voxels end by Euler's method alone, of which scipy does the interpolation: `[3, n]`, rounded."""
    places = np.argwhere(inside).T.astype(np.float64)
    field = flows * inside
    for _ in range(steps):
        flow = [map_coordinates(each, places, order=1, mode="grid-constant") for each in field]
        there = places + np.stack(flow)
        at = np.rint(there).astype(np.int64)
        within = ((at >= 0) & (at < np.reshape(inside.shape, (3, 1)))).all(axis=0)
        goes = within.copy()
        goes[within] = inside[tuple(at[:, within])]
        places = np.where(goes, there, places)
    return np.rint(places).astype(np.int64)


@pytest.mark.parametrize("shape", [(40, 44, 1), (20, 22, 24)], ids=["2-D", "3-D"])
def test_voxels_end_where_euler_s_method_takes_them(shape: tuple[int, int, int]) -> None:
    centres = [tuple(int(n * share) for n in shape) for share in (0.3, 0.68)]
    ids = balls(shape, centres, [7, 6])
    inside, flows = ids > 0, flows_of(ids)
    places, ends = tracked(flows, inside)
    assert np.array_equal(places, np.flatnonzero(inside))
    found = np.stack(np.unravel_index(ends, shape))
    assert np.abs(found - followed(flows, inside, 60)).max() <= 1


def test_flows_are_no_longer_than_a_voxel_and_never_lead_outside() -> None:
    inside = np.zeros((1, 300, 1), np.bool_)
    inside[0, 10:290] = True
    flows = np.zeros((3, 1, 300, 1), np.float32)
    flows[1] = 50
    places, ends = tracked(flows, inside)
    assert np.array_equal(places, np.arange(10, 290))
    assert (ends == 289).all()


def test_where_ways_end_does_not_follow_from_where_the_image_begins() -> None:
    """Rough flows in a block at two places of an image: to the voxel the same."""
    rng = np.random.default_rng(0)
    inside = rng.random((30, 31, 1)) > 0.2
    flows = rng.normal(0, 0.6, (3, 30, 31, 1)).astype(np.float32)
    around = [(1000, 2), (977, 3), (0, 0)]
    _, ends = tracked(flows, inside)
    _, moved = tracked(np.pad(flows, [(0, 0), *around]), np.pad(inside, around))
    offset = [1000, 977, 0]
    shape = (1032, 1011, 1)
    assert np.array_equal(
        np.stack(np.unravel_index(moved, shape)).T, np.stack(np.unravel_index(ends, inside.shape)).T + offset
    )


def test_nothing_inside_leads_nowhere() -> None:
    places, ends = tracked(np.zeros((3, 4, 5, 1), np.float32), np.zeros((4, 5, 1), np.bool_))
    assert len(places) == len(ends) == 0
    which, sinks = clustered(ends, (4, 5, 1), reach=2)
    assert len(which) == len(sinks) == 0


def test_ends_near_each_other_are_one_sink() -> None:
    """Heaps 2 apart are one, with its peak where most end; 3 further on there is another."""
    shape = (1, 20, 1)
    ends = np.repeat(np.array([4, 6, 7, 12], np.int64), [3, 9, 2, 1])
    which, sinks = clustered(ends, shape, reach=2)
    assert sinks.tolist() == [6, 12]
    assert which.tolist() == [0] * 14 + [1]
    apart, _ = clustered(ends, shape, reach=1)
    assert apart.max() == 2


def test_of_heaps_as_high_the_first_is_the_sink() -> None:
    ends = np.array([8, 9, 10, 11], np.int64)
    which, sinks = clustered(ends, (1, 20, 1), reach=2)
    assert which.tolist() == [0, 0, 0, 0]
    assert sinks.tolist() == [9]  # with three in and around it, as 10
