"""Windows put together: what a network that is right finds in windows is what there is in the image."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import detector
from medseg_instances.detector.network import Found
from medseg_instances.detector.search import ID_BYTES, findings_bytes, search, windows_of
from numpy.typing import NDArray
from scipy.ndimage import find_objects  # noqa: TID253
from touching import TABLE, balls, reference

from medseg.segmentation import Segmentation
from medseg.volume import Grid, Volume

CELLS = 64  # so many that masks are exact


def right(images: torch.Tensor) -> list[Found]:
    """A network that reads ids off the image, whose values they are: each one's box in the window, and mask.

    What a window's border cuts it is surer of than of what is whole.
    """
    return [_read(image[0].numpy().round().astype(np.int64)) for image in images]


def _read(ids: NDArray[np.int64]) -> Found:
    boxes, labels, scores, masks = [], [], [], []
    for number, region in enumerate(find_objects(ids), start=1):
        if region is None:
            continue
        own = torch.from_numpy((ids[region] == number).astype(np.float32))[None, None]
        masks.append(torch.nn.functional.interpolate(own, (CELLS,) * ids.ndim, mode="nearest")[0, 0])
        low, high = [part.start for part in region], [part.stop for part in region]
        boxes.append([float(n) for n in (*low, *high)])
        labels.append(int(number % 3 == 0))
        cut = min(low) == 0 or any(n == size for n, size in zip(high, ids.shape, strict=True))
        scores.append(0.9 if cut else 0.6)
    return Found(
        torch.tensor(boxes).reshape(-1, 2 * ids.ndim),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(scores),
        torch.stack(masks) if masks else torch.zeros(0, *(CELLS,) * ids.ndim),
    )


def image_of(wanted: Segmentation) -> Volume:
    return Volume(wanted.array.astype(np.float32), wanted.grid)


def found_in(wanted: Segmentation, patch: tuple[int, ...], **more: Any) -> Segmentation:
    how = detector(len(patch), window={"patch": patch, "overlap": more.pop("overlap", 0.5)})
    return search(image_of(wanted), [right], how=how, labels=TABLE, **more)


def same(found: Segmentation, wanted: Segmentation) -> bool:
    """The same objects, whatever their ids."""
    pairs = np.unique(np.stack([found.array[0].ravel(), wanted.array[0].ravel()]), axis=1).T
    names = [{thing.id: thing.label for thing in each.objects} for each in (found, wanted)]
    one_each = all(len(set(column.tolist())) == len(column) for column in pairs.T)
    return one_each and all(names[0].get(a) == names[1].get(b) for a, b in pairs.tolist())


def crowd(shape: tuple[int, int, int], step: int, radius: float) -> Segmentation:
    """Balls that touch, all over the image and across its faces."""
    axes = [range(0, size + step, step) if size > 1 else (0,) for size in shape]
    centres = [(i, j, k) for i in axes[0] for j in axes[1] for k in axes[2]]
    return reference(balls(shape, centres, [radius] * len(centres)))


def test_objects_across_every_border_in_pictures() -> None:
    """Discs of 13 voxels, windows of 40 that overlap by 20; and one window for all."""
    wanted = crowd((100, 90, 1), 12, 6.4)
    whole = found_in(wanted, (104, 96))
    tiled = found_in(wanted, (40, 40))
    assert same(whole, wanted)
    assert same(tiled, wanted)
    assert np.array_equal(tiled.array, whole.array)
    assert all(not thing.attributes for thing in tiled.objects)


def test_objects_across_every_border_in_space() -> None:
    wanted = crowd((40, 37, 44), 10, 5.2)
    tiled = found_in(wanted, (32, 32, 32))
    assert same(tiled, wanted)


def test_thick_slices_hold_objects_of_three() -> None:
    """Windows of 8 slices that overlap by 4: each object ends a slice before a window's border or earlier."""
    centres = [(10 + 12 * i, 10 + 12 * j, k) for i in range(4) for j in range(3) for k in range(1, 31, 3)]
    ids = np.zeros((58, 46, 31), np.uint32)
    for number, (i, j, k) in enumerate(centres, start=1):
        ids[i - 5 : i + 6, j - 5 : j + 6, k - 1 : k + 2] = number
    wanted = reference(ids)
    found = found_in(wanted, (32, 32, 8))
    assert same(found, wanted)
    assert all(not thing.attributes for thing in found.objects)


@pytest.mark.parametrize(("stop", "told"), [(28, 0.8), (30, 0.7)])
def test_the_score_is_that_of_the_surest_window_that_holds_it_whole(stop: int, told: float) -> None:
    """Windows from 0, 14 and 28 on: two hold the first object whole, and the second one only the middle."""
    ids = np.zeros((60, 30, 1), np.uint32)
    ids[18:stop, 10:20] = 1
    scores = iter((0.6, 0.8, 0.9) if stop == 28 else (0.99, 0.7, 0.95))

    def varies(images: torch.Tensor) -> list[Found]:
        return [replace(each, scores=torch.full_like(each.scores, next(scores))) for each in right(images)]

    wanted = reference(ids)
    found = search(image_of(wanted), [varies], how=detector(2, window={"patch": (32, 32)}), labels=TABLE)
    assert np.array_equal(found.array[0] > 0, ids > 0)
    assert [(thing.score, thing.attributes) for thing in found.objects] == [(told, {})]


def test_what_masks_are_wrong_by_makes_no_objects() -> None:
    """Discs of 80 voxels, of which masks of 64 cells lie differently in each window that cuts them."""
    places = range(40, 516, 82)
    centres = [(i, j) for i in places for j in places]
    wanted = reference(balls((516, 516, 1), centres, [40.0] * len(centres)))
    found = found_in(wanted, (172, 172))
    assert len(found.objects) == len(wanted.objects) == 36
    assert all(not thing.attributes for thing in found.objects)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seen", [1, 2, 3, 4])
@pytest.mark.parametrize("border", ["begins", "ends"])
def test_a_rim_of_an_object_that_is_seen_a_voxel_off_is_no_object(border: str, seen: int, axis: int) -> None:
    """Windows from 0, 14 and 28 on: where the middle one begins or ends it sees a few voxels of an object."""
    ids = np.zeros((60, 30, 1), np.uint32)
    ids[slice(8, 14 + seen) if border == "begins" else slice(46 - seen, 52), 10:20] = 1
    wanted = reference(ids.swapaxes(0, axis))

    def misplaces(images: torch.Tensor) -> list[Found]:
        return [_moved_inwards(each, axis, least=seen) for each in right(images)]

    how = detector(2, window={"patch": (32, 32)})
    found = search(image_of(wanted), [misplaces], how=how, labels=TABLE)
    assert same(found, wanted)
    assert all(not thing.attributes for thing in found.objects)


def _moved_inwards(found: Found, axis: int, *, least: int) -> Found:
    """With boxes of so few voxels a voxel further from the window's border."""
    boxes = found.boxes.clone()
    for box in boxes:
        if box[2 + axis] - box[axis] == least:
            box[[axis, 2 + axis]] += 1 if box[axis] == 0 else -1
    return replace(found, boxes=boxes)


def test_a_small_object_that_one_window_alone_finds_is_kept() -> None:
    """In the rim of the middle window: the first does not see it."""
    ids = np.zeros((60, 30, 1), np.uint32)
    ids[15:17, 10:20] = 1
    blind = iter((True, False, False))

    def misses(images: torch.Tensor) -> list[Found]:
        return right(torch.zeros_like(images) if next(blind) else images)

    wanted = reference(ids)
    found = search(image_of(wanted), [misses], how=detector(2, window={"patch": (32, 32)}), labels=TABLE)
    assert same(found, wanted)
    assert [thing.attributes for thing in found.objects] == [{"cut": True}]


@pytest.mark.parametrize("overlap", [0.05, 0.15, 0.25])
def test_small_objects_are_whole_where_windows_hardly_overlap(overlap: float) -> None:
    """One or two voxels thick, in each place that windows of 32 share."""
    how = detector(2, window={"patch": (32, 32), "overlap": overlap})
    shape = (100, 30, 1)
    first, second = windows_of(Grid(shape, np.eye(4)), how).starts(0)[:2]
    for thick in (1, 2):
        for start in range(second, first + 32 - thick + 1):
            ids = np.zeros(shape, np.uint32)
            ids[start : start + thick, 10:20] = 1
            wanted = reference(ids)
            found = search(image_of(wanted), [right], how=how, labels=TABLE)
            assert same(found, wanted)
            assert [thing.attributes for thing in found.objects] == [{}]


def test_batches_of_windows_and_several_networks_are_no_matter() -> None:
    wanted = crowd((60, 60, 1), 12, 6.4)
    one = found_in(wanted, (40, 40))
    assert np.array_equal(found_in(wanted, (40, 40), batch=3).array, one.array)
    how = detector(2, window={"patch": (40, 40)})
    two = search(image_of(wanted), [right, right], how=how, labels=TABLE)
    assert np.array_equal(two.array, one.array)


def test_slices_of_a_volume_are_searched_one_by_one() -> None:
    wanted = crowd((30, 30, 3), 12, 6.0)
    found = found_in(wanted, (40, 40))
    for k in range(3):
        own = wanted.array[0, :, :, k]
        assert np.array_equal(found.array[0, :, :, k] > 0, own > 0)
    assert len(found.objects) == sum(len(np.unique(wanted.array[0, :, :, k])) - 1 for k in range(3))


def test_an_object_that_no_window_holds_says_so() -> None:
    ids = np.zeros((90, 30, 1), np.uint32)
    ids[5:85, 10:20] = 1
    found = found_in(reference(ids), (32, 32))
    assert found.objects
    assert all(thing.attributes == {"cut": True} for thing in found.objects)
    assert not (found.array[0][ids == 0]).any()


@pytest.mark.parametrize("shape", [(20, 50, 1), (9, 9, 1), (20, 17, 50)])
def test_images_smaller_than_a_window(shape: tuple[int, int, int]) -> None:
    """Beyond the image is its smallest value; nothing is found there."""
    wanted = crowd(shape, 12, 6.0)
    found = found_in(wanted, (32,) * (2 if shape[2] == 1 else 3))
    assert same(found, wanted)


def test_beyond_the_image_is_its_smallest_value() -> None:
    seen: list[torch.Tensor] = []

    def looks(images: torch.Tensor) -> list[Found]:
        seen.append(images)
        return right(torch.zeros_like(images))

    image = np.stack([np.full((6, 6, 1), 3.0), np.full((6, 6, 1), -2.0)]).astype(np.float32)
    image[:, 0, 0] = 7
    how = detector(2, channels=2, window={"patch": (8, 8)})
    volume = Volume(image, Grid((6, 6, 1), np.eye(4)), ("a", "b"))
    found = search(volume, [looks], how=how, labels=TABLE)
    assert not found.objects
    (window,) = seen
    assert window.shape == (1, 2, 8, 8)
    assert window[0, :, 0, 0].tolist() == [3, -2]
    assert window[0, :, 1, 1].tolist() == [7, 7]


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    progress: Callable[[str, int, int], None] = lambda *step: told.append(step)  # noqa: E731
    found_in(crowd((60, 40, 1), 12, 6.0), (40, 40), progress=progress)
    assert told == [("segment", 1, 2), ("segment", 2, 2)]


@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_found_takes_about_what_is_told(dims: int) -> None:
    """As many objects as there may be in each window, whose boxes fill it twice: the plan, or a little less.

    Counted by Python, to the byte; beside it are ids of the image, and a window and its masks at a time.
    """
    shape, side, most = ((60, 60, 1), 24, 50) if dims == 2 else ((30, 24, 24), 12, 50)
    how = detector(dims, window={"patch": (side,) * dims, "overlap": 0.5}, most=most, score=0.1)
    box = round((2 * side**dims / most) ** (1 / dims), 3)
    low = torch.rand((most, dims), generator=torch.Generator().manual_seed(0)) * (side - box)
    one = Found(
        torch.cat([low, low + box], 1),
        torch.zeros(most, dtype=torch.long),
        torch.full((most,), 0.5),
        torch.ones(most, *(2,) * dims),
    )
    image = Volume(np.zeros((1, *shape), np.float32), Grid(shape, np.eye(4)))
    search(image, [lambda images: [one] * len(images)], how=how, labels=TABLE)  # what is made only once
    tracemalloc.start()
    search(image, [lambda images: [one] * len(images)], how=how, labels=TABLE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = findings_bytes(image.grid, how) + ID_BYTES * image.array.size
    assert 0.5 * planned < peak < 1.1 * planned
