from collections.abc import Callable

import numpy as np
import pytest

from medseg.builtin.postprocess.repaint import Mask, repaint, repaint_among
from medseg.errors import UsageError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Labelled = Callable[..., Segmentation]
GRID = Grid((7, 6, 5), np.eye(4))


def box(*sides: tuple[int, int]) -> Mask:
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def all_of_it(mask: Mask) -> Mask:
    return np.ones_like(mask)


def none_of_it(mask: Mask) -> Mask:
    return np.zeros_like(mask)


def test_gains_take_background_only_and_losses_become_background(labelled: Labelled) -> None:
    before = labelled(GRID, a=box((2, 4), (2, 4), (2, 4)), b=box((4, 6), (2, 4), (2, 4)))
    grown = repaint(before, ("a",), all_of_it)
    assert np.array_equal(grown.mask("b"), before.mask("b"))
    assert np.array_equal(grown.mask("a"), box((1, 5), (1, 5), (1, 5)) & ~before.mask("b"))
    gone = repaint(before, ("a",), none_of_it)
    assert not gone.mask("a").any()
    assert np.array_equal(gone.array, before.array * before.mask("b"))


def test_labels_take_turns_in_the_order_given(labelled: Labelled) -> None:
    before = labelled(GRID, a=box((1, 3), (2, 3), (2, 3)), b=box((4, 6), (2, 3), (2, 3)))
    gap = box((3, 4), (2, 3), (2, 3))
    assert (repaint(before, None, all_of_it).mask("a") & gap).any()
    assert (repaint(before, ("b", "a"), all_of_it).mask("b") & gap).any()


def test_change_sees_the_label_with_one_voxel_around_it_where_there_is_one(labelled: Labelled) -> None:
    seen: list[Mask] = []

    def look(mask: Mask) -> Mask:
        seen.append(mask)
        return mask

    before = labelled(GRID, a=box((0, 2), (2, 4), (4, 5)), b=box((3, 4), (3, 4), (0, 1)))
    assert np.array_equal(repaint(before, None, look).array, before.array)
    assert [mask.shape for mask in seen] == [(3, 4, 2), (3, 3, 2)]
    assert [int(mask.sum()) for mask in seen] == [4, 1]


def test_layers_are_independent_and_absent_labels_are_passed_over() -> None:
    table = LabelTable((Label(1, "liver"), Label(300, "tumour", layer=1), Label(7, "spleen", layer=1)))
    masks = {"liver": box((1, 6), (1, 5), (1, 4)), "tumour": box((2, 3), (2, 3), (2, 3))}
    before = Segmentation.from_masks(masks, GRID, table)
    after = repaint(before, ("tumour", "spleen"), all_of_it)
    assert np.array_equal(after.mask("liver"), before.mask("liver"))
    assert after.mask("tumour").sum() == 27
    assert not after.mask("spleen").any()
    assert after.array.dtype == before.array.dtype


def test_input_is_not_written_to(labelled: Labelled) -> None:
    before = labelled(GRID, a=box((2, 4), (2, 4), (2, 4)))
    copy = before.array.copy()
    repaint(before, None, all_of_it)
    repaint(before, None, none_of_it)
    assert np.array_equal(before.array, copy)


def test_unknown_label_is_told_with_the_known_ones(labelled: Labelled) -> None:
    with pytest.raises(UsageError, match="no label 'liver'; the labels are a, b"):
        repaint(labelled(GRID, a=box((0, 1)), b=box((1, 2))), ("liver",), all_of_it)


def test_objects_are_refused(objects: Segmentation) -> None:
    with pytest.raises(UsageError, match="'nucleus' lies in a layer of objects"):
        repaint(objects, None, all_of_it)


def test_a_wider_view_and_labels_that_may_be_overwritten(labelled: Labelled) -> None:
    before = labelled(GRID, a=box((3, 4), (3, 4), (2, 3)), b=box((4, 5), (3, 4), (2, 3)), c=box((2, 3)))
    seen: list[tuple[int, ...]] = []

    def look(mask: Mask, free: Mask) -> Mask:
        seen.append(mask.shape)
        return np.ones_like(mask) & (free | mask)

    after = repaint_among(before, ("a",), look, around=(2, 0, 1), over=("b",))
    assert seen == [(5, 1, 3)]
    assert np.array_equal(after.mask("a"), box((1, 6), (3, 4), (1, 4)) & ~before.mask("c"))
    assert not after.mask("b").any()
    assert np.array_equal(after.mask("c"), before.mask("c"))


def test_a_label_of_another_layer_cannot_be_overwritten() -> None:
    table = LabelTable((Label(1, "a"), Label(2, "b", layer=1)))
    before = Segmentation.from_masks({"a": box((2, 3)), "b": box((2, 4))}, GRID, table)
    after = repaint(before, ("a",), all_of_it, over=("b",))
    assert after.mask("a").sum() == 3 * 6 * 5
    assert np.array_equal(after.mask("b"), before.mask("b"))
