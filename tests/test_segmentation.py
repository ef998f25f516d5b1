from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ORIENTATIONS, grids, moved, organs, whole_voxel_moves

from medseg.errors import GeometryError, MedsegError, UsageError
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

steady = settings(max_examples=80, deadline=None, derandomize=True)
GRID = Grid((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]))
TABLE = LabelTable((Label(1, "liver"), Label(2, "spleen"), Label(3, "tumour", layer=1)))


def box(*sides: slice) -> Any:
    mask = np.zeros(GRID.shape, bool)
    mask[sides] = True
    return mask


def nodules() -> Segmentation:
    """Labels in layer 0; two lesions and a cyst as objects in layer 1."""
    table = LabelTable((Label(1, "lung"), Label(2, "lesion", layer=1), Label(3, "cyst", layer=1)))
    array = np.zeros((2, *GRID.shape), np.uint32)
    array[0, :2] = 1
    array[1, 0, 0, 0], array[1, 1, 1, :2], array[1, 3, 3, 3] = 7, 70_000, 9
    objects = (Object(7, "lesion", 0.9), Object(70_000, "lesion"), Object(9, "cyst"))
    return Segmentation(array, GRID, table, ("labels", "objects"), objects)


# --- geometry --------------------------------------------------------------------------------------------


@steady
@given(grid=grids(), steps=whole_voxel_moves(croppable=False))
def test_any_chain_of_turns_and_pads_comes_back_bit_for_bit(grid: Grid, steps: list[tuple[str, Any]]) -> None:
    segmentation = original = organs(grid)
    for step in steps:
        segmentation = segmentation.onto(moved(segmentation.grid, step))
    back = segmentation.onto(grid)
    assert back.array.dtype == np.uint16
    assert back.array.tobytes() == original.array.tobytes()
    assert (back.labels, back.kinds, back.grid) == (original.labels, original.kinds, grid)


@steady
@given(grid=grids(), steps=whole_voxel_moves())
def test_what_crops_kept_comes_back_and_the_rest_is_background(
    grid: Grid, steps: list[tuple[str, Any]]
) -> None:
    segmentation = original = organs(grid)
    whole = np.ones((1, *grid.shape), np.uint8)
    kept = Segmentation(whole, grid, LabelTable((Label(1, "kept"),)))
    for step in steps:
        segmentation = segmentation.onto(moved(segmentation.grid, step))
        kept = kept.onto(segmentation.grid)
    inside = kept.onto(grid).mask("kept")
    np.testing.assert_array_equal(segmentation.onto(grid).array, np.where(inside, original.array, 0))


@steady
@given(grid=grids(largest=5), codes=st.sampled_from(ORIENTATIONS), factor=st.integers(2, 3))
def test_labels_survive_a_finer_grid_and_back(grid: Grid, codes: str, factor: int) -> None:
    original = organs(grid)
    finer = grid.respaced([length / factor for length in grid.spacing]).reoriented(codes)
    there = original.onto(finer)
    for label in original.labels:
        assert there.mask(label.name).sum() == factor**3 * original.mask(label.name).sum()
    np.testing.assert_array_equal(there.onto(grid).array, original.array)


def test_the_same_grid_up_to_noise_is_taken_over_without_a_copy() -> None:
    original = organs(GRID)
    almost = Grid(GRID.shape, GRID.affine + np.diag([1e-9, 0, 0, 0]))
    there = original.onto(almost)
    assert there.grid is almost
    assert np.shares_memory(there.array, original.array)


def test_labels_in_millimetres_do_not_go_onto_pixels() -> None:
    with pytest.raises(GeometryError, match="px"):
        organs(GRID).onto(Grid(GRID.shape, GRID.affine, "px"))


# --- masks -----------------------------------------------------------------------------------------------


def test_masks_are_painted_and_given_back() -> None:
    masks = {"liver": box(slice(0, 2)), "spleen": box(slice(2, 3)), "tumour": box(slice(1, 3))}
    segmentation = Segmentation.from_masks(masks, GRID, TABLE)
    for name, mask in masks.items():
        np.testing.assert_array_equal(segmentation.mask(name), mask)


def test_the_later_name_wins_within_a_layer() -> None:
    masks = {"spleen": box(slice(0, 2)), "liver": box(slice(1, 3))}
    segmentation = Segmentation.from_masks(masks, GRID, TABLE)
    np.testing.assert_array_equal(segmentation.mask("liver"), box(slice(1, 3)))
    np.testing.assert_array_equal(segmentation.mask("spleen"), box(slice(0, 1)))


@pytest.mark.parametrize(
    ("highest", "kind"),
    [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)],
)
def test_the_smallest_type_that_holds_every_value_is_chosen(highest: int, kind: Any) -> None:
    table = LabelTable((Label(highest, "top"),))
    segmentation = Segmentation.from_masks({"top": box(slice(0, 1))}, GRID, table)
    assert segmentation.array.dtype == kind
    np.testing.assert_array_equal(segmentation.mask("top"), box(slice(0, 1)))


def test_no_labels_at_all_is_an_empty_layer() -> None:
    segmentation = Segmentation.from_masks({}, GRID, LabelTable(()))
    assert segmentation.array.shape == (1, *GRID.shape)
    assert not segmentation.array.any()


@pytest.mark.parametrize(
    "mask",
    [
        np.ones(GRID.shape, np.uint8),
        np.ones(GRID.shape[:2], bool),
        np.ones((6, 5, 4), bool),
        np.ones(GRID.shape),
    ],
)
def test_what_numpy_would_take_for_an_index_is_refused_as_a_mask(mask: Any) -> None:
    with pytest.raises(GeometryError, match="mask of 'liver'") as caught:
        Segmentation.from_masks({"liver": mask}, GRID, TABLE)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(GeometryError, match="mask of 'liver'"):
        organs(GRID).with_mask("liver", mask)


@steady
@given(seed=st.integers(0, 1000), label=st.sampled_from(["liver", "spleen", "lesion"]))
def test_with_mask_makes_the_label_exactly_the_mask(seed: int, label: str) -> None:
    before = organs(GRID, seed)
    original = before.array.copy()
    mask = np.random.default_rng(seed + 1).random(GRID.shape) < 0.4
    after = before.with_mask(label, mask)
    np.testing.assert_array_equal(after.mask(label), mask)
    for other in before.labels:
        if other.name == label:
            continue
        taken = mask if other.layer == before.labels[label].layer else np.zeros_like(mask)
        np.testing.assert_array_equal(after.mask(other.name), before.mask(other.name) & ~taken)
    np.testing.assert_array_equal(before.array, original)


def test_with_mask_widens_a_type_that_cannot_hold_the_value() -> None:
    table = LabelTable((Label(1, "liver"), Label(300, "lesion")))
    before = Segmentation(np.ones((1, *GRID.shape), np.uint8), GRID, table)
    assert not before.mask("lesion").any()
    after = before.with_mask("lesion", box(slice(0, 1)))
    np.testing.assert_array_equal(after.mask("lesion"), box(slice(0, 1)))
    np.testing.assert_array_equal(after.mask("liver"), box(slice(1, 4)))


def test_a_mask_can_be_written_into_without_changing_the_segmentation() -> None:
    segmentation = organs(GRID)
    before = segmentation.array.copy()
    segmentation.mask("liver")[:] = True
    np.testing.assert_array_equal(segmentation.array, before)


def test_the_mask_of_a_label_of_objects_is_their_union() -> None:
    segmentation = nodules()
    lesions = np.isin(segmentation.array[1], (7, 70_000))
    np.testing.assert_array_equal(segmentation.mask("lesion"), lesions)
    assert segmentation.mask("lesion").sum() == 3
    assert segmentation.mask("cyst").sum() == 1
    assert segmentation.mask("lung").sum() == 2 * 5 * 6
    assert segmentation.replace(objects=()).mask("lesion").sum() == 0


def test_masks_do_not_replace_objects() -> None:
    with pytest.raises(UsageError, match="layer of objects"):
        nodules().with_mask("lesion", box())


def test_an_unknown_label_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no label 'livr'.*liver, spleen, lesion"):
        organs(GRID).mask("livr")


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "kinds", "wrong"),
    [
        (np.zeros((2, 4, 5, 7), np.uint8), (), "on its grid"),
        (np.zeros((4, 5, 6), np.uint8), (), "on its grid"),
        (np.zeros((2, 4, 5, 6), np.int16), (), "unsigned"),
        (np.zeros((2, 4, 5, 6), bool), (), "unsigned"),
        (np.zeros((2, 4, 5, 6), np.float32), (), "unsigned"),
        (np.zeros((1, 4, 5, 6), np.uint8), (), "labels for 2 layers"),
        (np.zeros((2, 4, 5, 6), np.uint8), ("labels",), "1 kinds"),
        (np.zeros((2, 4, 5, 6), np.uint8), ("labels", "object"), "not labels, object|not "),
    ],
)
def test_a_segmentation_that_disagrees_with_itself_is_refused(array: Any, kinds: Any, wrong: str) -> None:
    with pytest.raises(GeometryError, match=wrong) as caught:
        Segmentation(array, GRID, TABLE, kinds)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        ([Label(1, "a"), Label(1, "b")], "value 1"),
        ([Label(1, "a"), Label(2, "a")], "name 'a'"),
        ([Label(0, "a")], "start at 1"),
        ([Label(-3, "a")], "start at 1"),
        ([Label(1, "a", layer=-1)], "layers at 0"),
        ([Label(1, "a", pair="b")], "no label 'b'"),
        ([Label(1, "a", pair="b"), Label(2, "b")], "not paired"),
        ([Label(1, "a", pair="b"), Label(2, "b", pair="c"), Label(3, "c", pair="b")], "not paired"),
        ([Label(1, "a", pair="a")], "not paired"),
    ],
)
def test_a_table_that_disagrees_with_itself_is_refused(labels: list[Label], wrong: str) -> None:
    with pytest.raises(MedsegError, match=wrong) as caught:
        LabelTable(tuple(labels))
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_is_in_order_of_value_and_knows_its_names() -> None:
    left, right = Label(5, "left", pair="right"), Label(2, "right", pair="left", layer=3)
    table = LabelTable((left, right))
    assert [label.value for label in table] == [2, 5]
    assert table == LabelTable((right, left))
    assert len(table) == 2
    assert "left" in table
    assert "middle" not in table
    assert 5 not in table
    assert table["left"] is left
    assert table.layers == 4
    assert LabelTable(()).layers == 1


def test_a_segmentation_cannot_be_written_through_and_its_maker_can_still_write() -> None:
    mine = np.zeros((2, *GRID.shape), np.uint8)
    segmentation = Segmentation(mine, GRID, TABLE)
    with pytest.raises(ValueError, match="read-only"):
        segmentation.array[:] = 1
    mine[:] = 1
    assert segmentation.mask("liver").all()
    assert segmentation.kinds == ("labels", "labels")


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (["left kidney", "right kidney"], ("left kidney", "right kidney")),
        (["kidney_right", "liver", "kidney_left"], ("kidney_right", "kidney_left")),
        (["Niere links", "Niere rechts"], ("Niere links", "Niere rechts")),
        (["lung L", "lung R"], ("lung L", "lung R")),
        (["liver", "spleen"], None),
        (["left ventricle", "liver"], None),
        (["heart left atrium", "heart right ventricle"], None),
        (["alright", "allleft"], None),
    ],
)
def test_the_sides_of_the_body_are_known_by_name_too(names: list[str], sides: tuple[str, str] | None) -> None:
    assert LabelTable(tuple(Label(n + 1, name) for n, name in enumerate(names))).sides() == sides


def test_a_pair_that_is_stated_counts_whatever_the_names_are() -> None:
    table = LabelTable((Label(1, "a", pair="b"), Label(2, "b", pair="a")))
    assert table.sides() == ("a", "b")
    assert table.one_sided() == "a"


@pytest.mark.parametrize(
    ("names", "sided"),
    [
        (["left kidney"], "left kidney"),
        (["liver", "kidney_r"], "kidney_r"),
        (["heart left atrium", "heart right ventricle"], "heart left atrium"),
        (["Lunge links"], "Lunge links"),
        (["rib R5", "rib L5"], "rib R5"),
        (["vertebra L5", "vertebra T12", "5r"], None),
        (["alright", "femoral", "lr"], None),
        (["liver"], None),
    ],
)
def test_a_side_is_known_without_its_other_half(names: list[str], sided: str | None) -> None:
    assert LabelTable(tuple(Label(n + 1, name) for n, name in enumerate(names))).one_sided() == sided


def test_some_labels_only_leaves_the_others_background() -> None:
    found = organs(GRID)
    some = found.only(["lesion", "liver"])
    assert [label.name for label in some.labels] == ["liver", "lesion"]
    assert some.array.dtype == found.array.dtype
    for name in ("liver", "lesion"):
        assert np.array_equal(some.mask(name), found.mask(name))
    assert np.array_equal(some.array, np.where(np.isin(found.array, [1, 300]), found.array, 0))


def test_objects_of_other_labels_go_with_them() -> None:
    some = nodules().only(["lesion"])
    assert [thing.id for thing in some.objects] == [7, 70_000]
    assert set(np.unique(some.array)) == {0, 7, 70_000}
    assert np.array_equal(some.mask("lesion"), nodules().mask("lesion"))


def test_half_of_a_pair_is_no_pair() -> None:
    table = LabelTable(
        (Label(1, "right kidney", pair="left kidney"), Label(2, "left kidney", pair="right kidney"))
    )
    assert table.only(["left kidney"]) == LabelTable((Label(2, "left kidney"),))
    assert table.only(["left kidney", "right kidney"]) == table


def test_a_label_that_is_none_is_refused_with_the_one_that_may_be_meant() -> None:
    with pytest.raises(UsageError, match="there is no label 'lever'; did you mean 'liver'"):
        TABLE.only(["lever"])


# ---- objects


def test_objects_become_their_labels() -> None:
    table = LabelTable((Label(3, "liver"), Label(9, "tumour", layer=1), Label(260, "cyst", layer=1)))
    array = np.zeros((2, 4, 3, 2), np.uint32)
    array[0, :2] = 3
    array[1, 1], array[1, 2], array[1, 3, 0] = 70_000, 12, 99
    things = (Object(70_000, "tumour"), Object(12, "cyst"))
    found = Segmentation(array, Grid((4, 3, 2), np.eye(4)), table, ("labels", "objects"), things).by_label()
    assert found.kinds == ("labels", "labels")
    assert found.objects == ()
    assert found.array.dtype == np.uint16
    assert np.unique(found.array[0]).tolist() == [0, 3]
    assert (found.array[1, 1] == 9).all()
    assert (found.array[1, 2] == 260).all()
    assert not found.array[1, 3].any()  # 99 is no object


def test_a_segmentation_from_ids_and_values() -> None:
    table = LabelTable((Label(3, "liver"), Label(9, "tumour")))
    ids, values = np.zeros((1, 4, 3, 2), np.uint32), np.zeros((1, 4, 3, 2), np.uint8)
    ids[0, 0], ids[0, 1], values[0, 0], values[0, 1] = 5, 2, 9, 3
    found = Segmentation.from_objects(ids, values, Grid((4, 3, 2), np.eye(4)), table)
    assert [(thing.id, thing.label) for thing in found.objects] == [(2, "liver"), (5, "tumour")]
    assert np.array_equal(found.mask("tumour"), ids[0] == 5)
    assert np.array_equal(found.by_label().array, values)
