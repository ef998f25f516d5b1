import numpy as np
import pytest
from medseg_instances.border_core import BorderCore
from touching import average_precision, balls, decoded, deep, flat, ideal, reference, stacked

from medseg.segmentation import Segmentation


@pytest.mark.parametrize("wanted", [flat(), deep()], ids=["2-D", "3-D"])
def test_objects_come_back_from_their_target_voxel_by_voxel(wanted: Segmentation) -> None:
    head = BorderCore()
    found = decoded(head, ideal(head, wanted), wanted)
    assert average_precision(found, wanted, 0.95) == {"round": 1.0, "long": 1.0}
    assert np.array_equal(found.array > 0, wanted.array > 0)
    assert {thing.label for thing in found.objects} == {"round", "long"}


def test_cores_are_what_lies_deeper_than_the_border() -> None:
    """Of a disc of radius 10, outside from between 10 and 11 on, a border of 3 leaves one of 7 to 7.5."""
    wanted = reference(balls((41, 41, 1), [(20, 20)], [10]))
    target = BorderCore(border=3).target(wanted)
    assert target.shape == (5, 41, 41, 1)
    assert (target.sum(axis=0) == 1).all()
    assert target[1].sum() == pytest.approx(np.pi * 7.25**2, rel=0.05)
    assert np.array_equal(target[1] + target[3], (wanted.array[0] > 0).astype(np.float32))
    assert not target[2].any()
    assert not target[4].any()


def test_depth_is_measured_in_the_finest_voxels() -> None:
    """With slices four times as thick a border of 2 is half a slice: what has a neighbour slice is deep."""
    ids = np.zeros((21, 21, 7), np.uint32)
    ids[3:18, 3:18, 1:6] = 1
    target = BorderCore(border=2).target(reference(ids, np.diag([1.0, 1.0, 4.0, 1.0])))
    assert np.array_equal(target[1][10, 10] > 0, [False, True, True, True, True, True, False])


def test_thin_objects_keep_a_core() -> None:
    ids = np.zeros((12, 12, 1), np.uint32)
    ids[2, 2:9], ids[5:7, 5] = 1, 2
    wanted = reference(ids)
    head = BorderCore(border=4, least_voxels=1)
    assert average_precision(decoded(head, ideal(head, wanted), wanted), wanted, 0.9) == {
        "round": 1.0,
        "long": None,
    }


@pytest.mark.parametrize("slices", [3, 4])
@pytest.mark.parametrize("thickness", [2.0, 5.0])
def test_flat_objects_in_thick_slices_stay_apart(slices: int, thickness: float) -> None:
    """A slice is deeper than the border: where objects meet there is a border all the same."""
    wanted = stacked(slices, thickness)
    head = BorderCore(border=1.5)
    found = average_precision(decoded(head, ideal(head, wanted), wanted), wanted, 0.6)
    assert found == {"round": 1.0, "long": 1.0}
