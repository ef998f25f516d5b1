import numpy as np

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

GRID = Grid((8, 9, 10), np.diag([1.0, 2.0, 3.0, 1.0]))
BOX = (slice(2, 4), slice(3, 8), slice(1, 2))


def test_each_label_has_the_smallest_box_in_its_layer() -> None:
    array = np.zeros((2, *GRID.shape), np.uint32)
    array[(0, *BOX)] = 1
    array[1, 5, 5, 5] = 1 << 20  # too high for a table of boxes
    table = LabelTable((Label(1, "a"), Label(2, "gone"), Label(1 << 20, "b", layer=1)))
    boxes = label_boxes(Segmentation(array, GRID, table))
    assert boxes == {"a": BOX, "gone": None, "b": (slice(5, 6), slice(5, 6), slice(5, 6))}


def test_a_label_of_objects_has_a_box_around_all_of_them() -> None:
    array = np.zeros((1, *GRID.shape), np.uint32)
    array[0, 2, 3, 1], array[0, 3, 7, 1], array[0, 7, 8, 9] = 5, 6, 7
    table = LabelTable((Label(1, "a"), Label(2, "b")))
    things = (Object(5, "a"), Object(6, "a"), Object(7, "b"))
    segmentation = Segmentation(array, GRID, table, kinds=("objects",), objects=things)
    assert label_boxes(segmentation)["a"] == BOX


def test_what_is_cut_out_lies_where_it_was() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[BOX] = True
    segmentation = Segmentation.from_masks({"a": mask}, GRID, LabelTable((Label(1, "a"),)))
    cut, grid = cut_out(segmentation, "a", BOX)
    assert cut.all()
    assert grid.to_world((0, 0, 0)).tolist() == GRID.to_world((2, 3, 1)).tolist()
