import numpy as np
import pytest
from closed_forms import segmented

from medseg.builtin.label_boxes import cut_out
from medseg.builtin.measure.neighbours import distance_between, host_of, surface_points
from medseg.extent import Box
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

GRID = Grid((20, 20, 20), np.diag([1.0, 2.0, 3.0, 1.0]))
SPOT: Box = (slice(8, 10), slice(8, 10), slice(8, 10))


def two_hosts(border: int) -> Segmentation:
    """A spot of 2 x 2 x 2 voxels between two labels that meet at index `border` along i."""
    left, right, spot = (np.zeros(GRID.shape, bool) for _ in range(3))
    spot[SPOT] = True
    left[:border] = right[border:] = True
    return segmented(GRID, left=left & ~spot, right=right & ~spot, spot=spot)


@pytest.mark.parametrize(
    ("border", "host", "flag"),
    [(15, "left", ""), (2, "right", ""), (10, "left", ""), (8, "right", "")],
)
def test_the_host_is_what_most_of_the_faces_touch(border: int, host: str, flag: str) -> None:
    segmentation = two_hosts(border)
    mask, _ = cut_out(segmentation, "spot", SPOT)
    assert host_of(mask, SPOT, segmentation, ("left", "right"))[0] == host


def test_a_host_that_is_hardly_more_than_another_is_flagged() -> None:
    segmentation = two_hosts(10)  # 20 of the 24 faces touch the left one
    mask, _ = cut_out(segmentation, "spot", SPOT)
    assert host_of(mask, SPOT, segmentation, ("left", "right")) == ("left", "", "")
    even = two_hosts(9)
    name, _, flag = host_of(mask, SPOT, even, ("left", "right"))
    assert name in ("left", "right")
    assert flag == "50% of what is around"
    assert host_of(mask, SPOT, even, ("right",)) == ("right", "", "")
    assert host_of(mask, SPOT, even, ()) == (None, "", "no other label is near")


def test_a_host_in_another_layer_counts_by_what_overlaps() -> None:
    table = LabelTable((Label(1, "organ"), Label(2, "spot", layer=1)))
    organ, spot = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    organ[4:16, 4:16, 4:16] = True
    spot[SPOT] = True
    segmentation = Segmentation.from_masks({"organ": organ, "spot": spot}, GRID, table)
    assert host_of(spot[SPOT], SPOT, segmentation, ("organ",)) == ("organ", "", "")
    points = surface_points(segmentation, "organ")
    assert distance_between(spot[SPOT], SPOT, segmentation, "organ", points) == 0.0


def test_distances_are_those_of_all_pairs_of_voxels() -> None:
    random = np.random.default_rng(4)
    one, other = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    one[2:6, 3:8, 1:9] = random.random((4, 5, 8)) < 0.3
    other[9:14, 6:18, 4:19] = random.random((5, 12, 15)) < 0.3
    segmentation = segmented(GRID, one=one, other=other)
    whole: Box = (slice(0, 20), slice(0, 20), slice(0, 20))
    found = distance_between(one, whole, segmentation, "other", surface_points(segmentation, "other"))
    places = [GRID.to_world(np.argwhere(mask)) for mask in (one, other)]
    every = np.linalg.norm(places[0][:, None] - places[1], axis=-1)
    assert found == pytest.approx(every.min())


def test_nothing_is_not_far_away() -> None:
    segmentation = segmented(GRID, spot=np.ones(GRID.shape, bool), gone=np.zeros(GRID.shape, bool))
    assert surface_points(segmentation, "gone") is None
    assert distance_between(np.ones((2, 2, 2), bool), SPOT, segmentation, "gone", None) is None
