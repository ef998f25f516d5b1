import numpy as np
import pytest
from scipy import ndimage  # noqa: TID253

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


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("chunk", [1, 4000, 1 << 22])
@pytest.mark.parametrize("size", [1, 9])
def test_boxes_are_scipys_of_bodies_and_of_noise(
    kind: type[np.unsignedinteger], order: str, chunk: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cubes of `size` voxels: of 1, runs are short, and of 9 they reach from face to face of the image."""
    monkeypatch.setattr("medseg.builtin.label_boxes.CHUNK_VOXELS", chunk)
    monkeypatch.setattr("medseg.builtin.label_boxes.LEAST_RUN", 4)
    random = np.random.default_rng(size)
    coarse = random.integers(0, 40, (6, 5, 4)) * (random.random((6, 5, 4)) < 0.5)
    array = np.kron(coarse, np.ones((size, size, size))).astype(kind)
    array[:, :, -1] = np.where(random.random(array.shape[:2]) < 0.1, 60, array[:, :, -1])  # there is no 60
    grid = Grid(array.shape, np.eye(4))
    table = LabelTable(tuple(Label(value, str(value)) for value in range(1, 50)))
    laid_out = array.T.copy().T if order == "F" else array
    boxes = label_boxes(Segmentation(laid_out[None], grid, table))
    found = ndimage.find_objects(array.astype(np.int64), max_label=49)
    assert boxes == {str(value): box for value, box in enumerate(found, start=1)}


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
