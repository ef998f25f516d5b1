import numpy as np
import pytest
from medseg_instances.distance_watershed import DistanceWatershed
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter  # noqa: TID253
from touching import average_precision, balls, decoded, deep, flat, ideal, reference, stacked

from medseg.inference import ObjectSink
from medseg.segmentation import Segmentation


@pytest.mark.parametrize("wanted", [flat(), deep()], ids=["2-D", "3-D"])
def test_objects_come_back_from_their_target_voxel_by_voxel(wanted: Segmentation) -> None:
    head = DistanceWatershed()
    found = decoded(head, ideal(head, wanted), wanted)
    assert average_precision(found, wanted, 0.95) == {"round": 1.0, "long": 1.0}
    assert np.array_equal(found.array > 0, wanted.array > 0)
    assert {thing.label for thing in found.objects} == {"round", "long"}


def test_depth_is_a_part_of_the_deepest_place() -> None:
    """In a disc of radius 10 it falls in a straight line from 1 in the middle to 0 at the outside."""
    wanted = reference(balls((41, 41, 1), [(20, 20)], [10]))
    target = DistanceWatershed().target(wanted)
    assert target.shape == (4, 41, 41, 1)
    assert target[3, 20, 20, 0] == 1
    assert [target[3, 20 + n, 20, 0] for n in range(12)] == pytest.approx(
        [max(0.0, 1 - n / 11) for n in range(12)], abs=0.06
    )
    assert np.array_equal(target[1] > 0, wanted.array[0] > 0)
    assert not target[2].any()


def test_small_objects_are_as_high_as_large_ones() -> None:
    wanted = reference(balls((60, 60, 1), [(20, 20), (50, 50)], [15, 3]))
    depth = DistanceWatershed().target(wanted)[-1]
    assert [depth[wanted.array[0] == n].max() for n in (1, 2)] == [1, 1]


def test_what_is_nowhere_deep_is_no_object() -> None:
    """A speck that the network gives a label and no depth."""
    wanted = reference(balls((40, 40, 1), [(12, 12), (30, 30)], [7, 4]))
    head = DistanceWatershed()
    logits = ideal(head, wanted)
    logits[-1][wanted.array[0] == 2] *= 0.35
    found = decoded(head, logits, wanted)
    assert np.array_equal(found.array[0] > 0, wanted.array[0] == 1)


def test_what_the_network_says_of_depth_outside_does_not_matter() -> None:
    """Nothing is asked of it there, so that it says anything; smoothing must not bring that in."""
    wanted = flat()
    head = DistanceWatershed(smooth=2)
    logits = ideal(head, wanted)
    before = decoded(head, logits, wanted)
    logits[-1][wanted.array[0] == 0] = 4
    found = decoded(head, logits, wanted)
    assert np.array_equal(found.array, before.array)
    assert average_precision(found, wanted, 0.95) == {"round": 1.0, "long": 1.0}


def test_smoothing_keeps_an_object_whole() -> None:
    """Noise that cuts the depth into many summits."""
    wanted = reference(balls((60, 60, 1), [(20, 20), (20, 46)], [14, 12]))
    logits = ideal(DistanceWatershed(), wanted)
    logits[-1] += np.random.default_rng(0).normal(0, 0.25, wanted.grid.shape).astype(np.float32)
    assert len(decoded(DistanceWatershed(smooth=0), logits, wanted).objects) > 8
    assert len(decoded(DistanceWatershed(smooth=2), logits, wanted).objects) == 2


def test_hills_that_meet_above_the_seed_depth_are_cut_apart_and_ripples_are_not() -> None:
    """Two discs over whose border the depth falls to 0.6 only, and one with a ripple on its top."""
    wanted = reference(balls((40, 60, 1), [(20, 14), (20, 30), (20, 50)], [8.5, 8.5, 7]))
    head = DistanceWatershed(smooth=0)
    logits = ideal(head, wanted)
    logits[-1] = np.maximum(logits[-1], 0.6 * (wanted.array[0] > 0))
    logits[-1][20, 50] -= 0.1
    found = decoded(head, logits, wanted)
    assert len(found.objects) == 3
    for number in (1, 2, 3):
        there = found.array[0][wanted.array[0] == number]
        assert np.bincount(there).max() > 0.95 * there.size
    joined = decoded(DistanceWatershed(smooth=0, prominence=0), logits, wanted)
    assert len(joined.objects) == 2, "by depth alone they are one"


@pytest.mark.parametrize(("top", "valley", "count"), [(1.0, 0.82, 1), (1.0, 0.7, 2), (0.6, 0.42, 2)])
def test_a_fall_counts_as_a_part_of_the_flatter_top(top: float, valley: float, count: int) -> None:
    """One of 0.18 cuts hills of 0.6, of which it is a third, and not those of 1; tops are level."""
    wanted = reference(balls((40, 60, 1), [(20, 18), (20, 34)], [9, 9]))
    head = DistanceWatershed(smooth=0)
    logits = ideal(head, wanted)
    logits[-1] = np.where(wanted.array[0] > 0, np.clip(logits[-1] * 1.2, valley, top), 0)
    assert len(decoded(head, logits, wanted).objects) == count


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 3.0)])
@pytest.mark.parametrize("deep", [1, 9])
def test_the_outline_cuts_at_waists(spacing: tuple[float, ...], deep: int) -> None:
    """Two discs or columns that meet, whose depth is level as where a network sees one object."""
    ids = balls((40, 60, 1), [(20, 18), (20, 35)], [9, 9]).repeat(deep, axis=2)
    wanted = reference(ids, np.diag([*spacing, 1.0]))
    logits = ideal(DistanceWatershed(), wanted)
    logits[-1] = np.where(ids > 0, 0.9, 0)
    assert len(decoded(DistanceWatershed(), logits, wanted).objects) == 1
    found = decoded(DistanceWatershed(outline=0.5), logits, wanted)
    assert len(found.objects) == 2
    for number in (1, 2):
        there = found.array[0][ids == number]
        assert np.bincount(there).max() > 0.95 * there.size


def spheres_in_mm(spacing: tuple[float, float, float]) -> NDArray[np.uint32]:
    """Two balls of 8.4 mm that meet in a waist, one behind the other across slices."""
    i, j, k = (axis * side for axis, side in zip(np.indices((40, 40, 20)), spacing, strict=True))
    ids = np.zeros((40, 40, 20), np.uint32)
    for number, middle in ((1, 6 * spacing[2]), (2, 13 * spacing[2])):
        far = (i - 20 * spacing[0]) ** 2 + (j - 20 * spacing[1]) ** 2 + (k - middle) ** 2
        ids[(far <= (4.2 * spacing[2]) ** 2) & (ids == 0)] = number
    return ids


def level(head: DistanceWatershed, ids: NDArray[np.uint32], wanted: Segmentation) -> NDArray[np.float32]:
    """What a network tells that sees one object."""
    logits = ideal(head, wanted)
    logits[-1] = np.where(ids > 0, 0.9, 0)
    return logits


def test_the_distance_to_the_outside_is_a_length() -> None:
    """In voxels of 0.5 x 0.5 x 2 mm balls are flat: counted in voxels, they would have no waist."""
    spacing = (0.5, 0.5, 2.0)
    ids = spheres_in_mm(spacing)
    wanted = reference(ids, np.diag([*spacing, 1.0]))
    head = DistanceWatershed(outline=1.0)
    assert len(decoded(head, level(head, ids, wanted), wanted).objects) == 2


def test_a_stronger_outline_cuts_shallower_waists() -> None:
    ids = spheres_in_mm((1.0, 1.0, 1.0))
    wanted = reference(ids)
    count = {
        outline: len(
            decoded(head := DistanceWatershed(outline=outline), level(head, ids, wanted), wanted).objects
        )
        for outline in (0.5, 1.0)
    }
    assert count == {0.5: 1, 1.0: 2}


def test_a_waist_is_cut_where_it_is_narrowest() -> None:
    """Of a large disc and a small one, whose middles are not as far from it."""
    ids = balls((70, 90, 1), [(35, 25), (35, 58)], [22, 13])
    wanted = reference(ids)
    head = DistanceWatershed(outline=0.5)
    found = decoded(head, level(head, ids, wanted), wanted)
    assert average_precision(found, wanted, 0.95) == {"round": 1.0, "long": None}


def test_a_ragged_outline_is_smoothed() -> None:
    """The distance to it has many tops, of which the smoothed one has one."""
    ids = balls((60, 60, 1), [(30, 30)], [20])
    rough = np.random.default_rng(3).random(ids.shape) < 0.08
    ids[rough] = 0
    wanted = reference(ids)
    count = {}
    for smooth in (0.0, 4.0):
        head = DistanceWatershed(outline=1.0, smooth=smooth)
        count[smooth] = len(decoded(head, level(head, ids, wanted), wanted).objects)
    assert count[4.0] == 1
    assert count[0.0] > 4


def test_objects_wider_than_size_have_no_waist() -> None:
    """The distance counts up to half of it, so that blocks agree."""
    ids = balls((90, 90, 1), [(45, 25), (45, 59)], [18, 18])
    wanted = reference(ids)
    count = {
        size: len(
            decoded(
                head := DistanceWatershed(outline=0.5, size=size), level(head, ids, wanted), wanted
            ).objects
        )
        for size in (8, 64)
    }
    assert count == {8: 1, 64: 2}


def test_objects_that_meet_along_a_broad_face_need_a_deeper_valley() -> None:
    """The distance is largest there. As the parameter's description says."""
    ids = np.zeros((40, 40, 1), np.uint32)
    ids[6:34, 10:20], ids[6:34, 20:30] = 1, 2
    wanted = reference(ids)
    count = {}
    for outline in (0.0, 0.5):
        head = DistanceWatershed(outline=outline)
        logits = ideal(head, wanted)
        logits[-1] = np.where(ids > 0, np.maximum(logits[-1], 0.6), 0)
        count[outline] = len(decoded(head, logits, wanted).objects)
    assert count == {0.0: 2, 0.5: 1}


def test_an_outline_that_could_cut_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="with prominence: 0 nothing is cut"):
        DistanceWatershed(outline=0.5, prominence=0)


def test_an_outline_without_a_waist_is_not_cut() -> None:
    """A rod whose ends the image cuts off, and a ball."""
    rod = np.zeros((40, 60, 1), np.uint32)
    rod[16:25] = 1
    ids = np.concatenate([rod, balls((40, 60, 1), [(20, 30)], [12]) * 2])
    wanted = reference(ids)
    head = DistanceWatershed(outline=1.0)
    found = decoded(head, ideal(head, wanted), wanted)
    assert np.array_equal(found.array[0] > 0, ids > 0)
    assert len(found.objects) == 2


@pytest.mark.parametrize(("seed", "prominence"), [(0.005, 0.25), (0.4, 0.97)])
def test_flat_hills_and_deep_valleys_count_too(seed: float, prominence: float) -> None:
    """Two discs whose tops are twice as deep as they must be, and with nothing between them."""
    ids = balls((40, 60, 1), [(20, 18), (20, 36)], [9, 9])
    wanted = reference(ids)
    head = DistanceWatershed(smooth=0, seed=seed, prominence=prominence)
    logits = ideal(head, wanted)
    logits[-1] = np.where(logits[-1] > 0.5, 2 * seed, 0.001 * seed)
    assert len(decoded(head, logits, wanted).objects) == 2


@pytest.mark.parametrize("slices", [3, 4])
@pytest.mark.parametrize("thickness", [2.0, 3.0, 5.0])
def test_flat_objects_in_thick_slices_stay_apart(slices: int, thickness: float) -> None:
    """Depth is smoothed in lengths, not over as many thick slices as pixels."""
    wanted = stacked(slices, thickness)
    head = DistanceWatershed()
    found = average_precision(decoded(head, ideal(head, wanted), wanted), wanted, 0.9)
    assert found == {"round": 1.0, "long": 1.0}


@pytest.mark.parametrize("thickness", [0.05, 20.0])
def test_how_thick_a_single_slice_is_does_not_matter(thickness: float) -> None:
    """With noise that falls into pieces where it is smoothed less."""
    ids = balls((60, 60, 1), [(20, 20), (20, 46)], [14, 12])
    alike, other = reference(ids), reference(ids, np.diag([1.0, 1.0, thickness, 1.0]))
    head = DistanceWatershed(smooth=2)
    logits = ideal(head, alike)
    logits[-1] += np.random.default_rng(0).normal(0, 0.25, ids.shape).astype(np.float32)
    assert np.array_equal(decoded(head, logits, other).array, decoded(head, logits, alike).array)


class InBlocks(ObjectSink):
    """Blocks of a few voxels."""

    most_voxels = 3000


@pytest.mark.parametrize(
    ("seed", "outline"), [(18, 0.0), (31, 0.0), (29, 0.5), (34, 0.5), (38, 0.5), (38, 1.0)]
)
def test_blocks_of_a_crowd_give_what_the_whole_gives(seed: int, outline: float) -> None:
    """Scenes of which a few voxels come out otherwise where blocks overlap by `size` alone."""
    random, shape = np.random.default_rng(seed), (120, 110, 1)
    centres = [tuple(int(random.integers(0, n)) for n in shape) for _ in range(60)]
    wanted = reference(balls(shape, centres, random.uniform(3, 9, 60).tolist()))
    head = DistanceWatershed(outline=outline, size=16)
    logits = ideal(head, wanted)
    logits[-1] += 0.4 * gaussian_filter(random.normal(0, 1, shape), [1, 1, 0])
    whole = decoded(head, logits, wanted)
    assert len(whole.objects) > 30
    assert np.array_equal(decoded(head, logits, wanted, InBlocks).array, whole.array)
