import numpy as np
import pytest

from medseg.builtin.measure.numbered_lesions import numbered_lesions, renumbered
from medseg.extent import extent
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_objects_are_renumbered_in_the_order_of_their_ids(dtype: type[np.unsignedinteger]) -> None:
    high = int(np.iinfo(dtype).max)
    numbers = np.array([[[5, 0, high], [high, high, 9]]], dtype)
    found, counts = renumbered(numbers, [3, 5, high])
    assert found.tolist() == [[[2, 0, 3], [3, 3, 0]]]
    assert counts.tolist() == [0, 0, 1, 3]
    assert renumbered(numbers, [])[1].tolist() == [0]


def test_they_are_what_looking_for_each_id_finds() -> None:
    """Objects of two labels in random places, some of them nowhere, in any order of memory."""
    rng = np.random.default_rng(0)
    ids = rng.choice(4_000_000_000, 60, replace=False)
    array = np.asfortranarray(rng.choice(np.r_[0, ids[:50]], (9, 8, 7)).astype(np.uint32))
    array[0], array[:, :, -1] = 0, 0
    table = LabelTable((Label(1, "a"), Label(2, "b")))
    things = tuple(Object(int(one), "ab"[n % 2]) for n, one in enumerate(ids))
    segmentation = Segmentation(array[None], Grid((9, 8, 7), np.eye(4)), table, ("objects",), things)
    box = (slice(1, 9), slice(0, 8), slice(0, 6))
    found = numbered_lesions(table["a"], box, segmentation, 26)
    sizes = {int(one): int(np.count_nonzero(array == one)) for one in ids[::2]}
    order = sorted((one for one in sizes if sizes[one]), key=lambda one: (-sizes[one], one))
    assert list(found.names) == order
    assert list(found.sizes) == [sizes[one] for one in order]
    for rank, one in enumerate(order):
        mask, where = found.placed(rank)
        again = np.zeros(array.shape, bool)
        again[where] = mask
        assert np.array_equal(again, array == one)
        assert where == extent(again)


def test_parts_have_ranks() -> None:
    mask = np.zeros((12, 4, 4), bool)
    mask[1:3, 1:3, 1:3], mask[5:9, 1:3, 1:3], mask[10:12, 1:3, 1:3] = True, True, True
    table = LabelTable((Label(1, "a"),))
    segmentation = Segmentation.from_masks({"a": mask}, Grid(mask.shape, np.eye(4)), table)
    found = numbered_lesions(table["a"], (slice(1, 12), slice(1, 3), slice(1, 3)), segmentation, 6)
    assert list(found.names) == [1, 2, 3]
    assert list(found.sizes) == [16, 8, 8]
    assert [found.placed(rank)[1][0] for rank in range(3)] == [slice(5, 9), slice(1, 3), slice(10, 12)]
