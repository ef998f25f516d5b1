import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import label  # noqa: TID253

from medseg.builtin.postprocess.connected_parts import Parts, parts_of_labels
from medseg.builtin.postprocess.keep_parts import keep_parts
from medseg.errors import UsageError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Labelled = Callable[..., Segmentation]
SHAPE = (30, 28, 26)
GRID = Grid(SHAPE, np.eye(4))


def speckled(labels: int, shape: tuple[int, int, int] = SHAPE) -> Segmentation:
    """Noise of many labels, each in parts all over the image."""
    random = np.random.default_rng(0)
    array = random.integers(0, labels + 1, (2, *shape)).astype(np.uint8)
    table = LabelTable(tuple(Label(value, f"label {value}") for value in range(1, labels + 1)))
    return Segmentation(array[:1], Grid(shape, np.eye(4)), table)


def more_than_one(parts: Parts, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    return numbers[parts.sizes[numbers] > 1]


def test_all_labels_in_one_pass_give_what_each_gives_by_itself() -> None:
    before = speckled(5)
    after = keep_parts(before, None, 6, more_than_one)
    for each in before.labels:
        numbers, _ = label(before.mask(each.name))
        expected = np.bincount(numbers.ravel())[numbers] > 1
        assert np.array_equal(after.mask(each.name), before.mask(each.name) & expected)


def test_labels_that_are_not_chosen_and_other_layers_stay(labelled: Labelled) -> None:
    array = np.random.default_rng(1).integers(0, 2, (2, *SHAPE)).astype(np.uint8)
    array[1] *= 2
    before = Segmentation(array, GRID, LabelTable((Label(1, "a"), Label(2, "b", layer=1))))
    after = keep_parts(before, ("b",), 26, lambda parts, numbers: numbers[:0])
    assert np.array_equal(after.array[0], array[0])
    assert not after.array[1].any()


def test_parts_know_their_label_and_where_they_begin() -> None:
    layer = np.random.default_rng(2).integers(0, 4, SHAPE).astype(np.uint16) * np.uint16(300)
    parts = parts_of_labels(layer, 18)
    for number in range(1, len(parts.sizes)):
        where = np.flatnonzero(parts.numbers == number)
        assert parts.begins[number] == where[0]
        assert parts.owners[number] == layer.ravel()[where[0]]
        assert parts.sizes[number] == len(where)
    assert sorted(np.concatenate([parts.of(value) for value in (300, 600, 900)])) == list(
        range(1, len(parts.sizes))
    )


def test_many_labels_are_not_many_passes() -> None:
    """Work is that of one pass and not that of a pass for each of 40 labels, each all over the image."""

    def seconds(labels: int) -> float:
        before = speckled(labels, (80, 80, 80))
        start = time.process_time()
        keep_parts(before, None, 26, lambda parts, numbers: numbers)
        return time.process_time() - start

    seconds(1)  # libraries are imported
    assert min(seconds(40) for _ in range(2)) < 10 * min(seconds(2) for _ in range(2))


def test_no_voxel_and_an_empty_image(labelled: Labelled) -> None:
    before = labelled(GRID, a=np.zeros(SHAPE, bool))
    assert not keep_parts(before, None, 26, more_than_one).array.any()


def test_objects_and_unknown_labels_are_refused(objects: Segmentation, labelled: Labelled) -> None:
    with pytest.raises(UsageError, match="layer of objects"):
        keep_parts(objects, None, 26, more_than_one)
    with pytest.raises(UsageError, match="no label 'b'"):
        keep_parts(labelled(GRID, a=np.ones(SHAPE, bool)), ("b",), 26, more_than_one)
