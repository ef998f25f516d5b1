import numpy as np
import pytest
from medseg_instances.flow_target import flows_of
from touching import balls


@pytest.mark.parametrize(
    ("shape", "centre", "radius"),
    [((41, 43, 1), (20, 21), 14.5), ((31, 29, 30), (15, 14, 16), 10.5)],
    ids=["2-D", "3-D"],
)
def test_in_a_ball_the_way_is_straight_to_its_centre(
    shape: tuple[int, int, int], centre: tuple[int, ...], radius: float
) -> None:
    ids = balls(shape, [centre], [radius])
    flows = flows_of(ids)
    way = np.array((*centre, 0)[:3]).reshape(3, 1, 1, 1) - np.indices(shape)
    length = np.linalg.norm(way, axis=0)
    inside = (ids > 0) & (length > 0)
    cosine = (flows * way).sum(axis=0)[inside] / length[inside]
    assert np.linalg.norm(flows, axis=0)[inside] == pytest.approx(1, abs=1e-5)
    assert cosine.min() > np.cos(np.deg2rad(15))  # an edge of voxels is not round
    assert np.rad2deg(np.arccos(cosine.clip(-1, 1))).mean() < 3
    assert not flows[:, ids == 0].any()
    i, j, k = (*centre, 0)[:3]
    assert not flows[:, i, j, k].any()


def test_in_a_line_all_lead_to_the_middle() -> None:
    ids = np.zeros((1, 9, 1), np.uint32)
    ids[0, 1:8] = 3
    assert flows_of(ids)[1, 0, :, 0].tolist() == [0, 1, 1, 1, 0, -1, -1, -1, 0]


def test_two_that_touch_have_a_centre_each() -> None:
    ids = np.ones((7, 14, 1), np.uint32)
    ids[:, 7:] = 2
    flows = flows_of(ids)
    assert not flows[:, 3, 3].any()
    assert not flows[:, 3, 10].any()
    assert (flows[1, :, 6] < 0).all()  # away from the face between them
    assert (flows[1, :, 7] > 0).all()
    assert np.array_equal(flows[:, :, :7], flows[:, :, 7:])  # what is beside an object is of no matter


def test_ways_lead_around_corners() -> None:
    """In the two legs of an L voxels go along the legs, though the median lies outside it."""
    ids = np.zeros((40, 40, 1), np.uint32)
    ids[2:38, 2:6] = 1
    ids[34:38, 2:38] = 1
    flows = flows_of(ids)
    assert (flows[0, 3:28, 3:5] > 0.9).all()
    assert (flows[1, 35:37, 12:37] < -0.9).all()


def test_parts_of_one_object_have_centres_of_their_own() -> None:
    ids = np.zeros((9, 20, 1), np.uint32)
    ids[2:7, 2:7], ids[2:7, 12:17] = 4, 4
    flows = flows_of(ids)
    assert not flows[:, 4, 4].any()
    assert not flows[:, 4, 14].any()
    assert flows[1, 4, 2] > 0 > flows[1, 4, 6]


def test_mirrored_objects_have_mirrored_ways() -> None:
    ids = balls((30, 32, 1), [(9, 9), (20, 16)], [8.5, 6.5])
    mirrored = flows_of(ids[:, ::-1])[:, :, ::-1] * np.array([1, -1, 1]).reshape(3, 1, 1, 1)
    off = np.linalg.norm(mirrored - flows_of(ids), axis=0)
    assert (
        np.sort(off.ravel())[: -(ids > 0).sum() // 20].max() < 0.2
    )  # of two nearest the first is the centre


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 1), (1, 1, 1)])
def test_nothing_and_single_voxels_have_no_flow(shape: tuple[int, int, int]) -> None:
    ids = np.zeros(shape, np.uint32)
    assert not flows_of(ids).any()
    ids[0, 0, 0] = 7
    assert flows_of(ids).shape == (3, *shape)
    assert not flows_of(ids).any()
