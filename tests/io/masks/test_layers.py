import numpy as np

from medseg.io.masks.layers import hexadecimal, in_layers, listed, unique
from medseg.segmentation import Label
from medseg.volume import Grid

GRID = Grid((10, 1, 1), np.eye(4))


def test_first_layer_without_overlap_is_taken() -> None:
    labels = [Label(5, "a"), Label(300, "b"), Label(2, "c"), Label(9, "nothing")]
    wheres = [np.arange(0, 4), np.arange(3, 6), np.arange(4, 7), np.arange(0)]
    found = in_layers(labels, wheres, GRID, "file")
    assert {label.name: label.layer for label in found.labels} == {"a": 0, "b": 1, "c": 0, "nothing": 0}
    assert found.array.dtype == np.uint16
    for label, where in zip(labels, wheres, strict=True):
        assert np.flatnonzero(found.mask(label.name)).tolist() == where.tolist()


def test_no_label_is_an_empty_layer() -> None:
    assert in_layers([], [], GRID, "file").array.shape == (1, 10, 1, 1)


def test_values_are_kept_where_they_can_be() -> None:
    notes: list[str] = []
    assert [label.value for label in unique([Label(7, "a"), Label(2, "b")], notes.append)] == [7, 2]
    assert notes == []
    assert [label.value for label in unique([Label(0, "a"), Label(2, "b")], notes.append)] == [1, 2]
    assert notes == ["label values that are 0, negative or used twice: renumbered from 0 to 1, 2 to 2"]


def test_names_are_made_unique_whatever_they_are() -> None:
    labels = [Label(1, "a"), Label(2, "a 2"), Label(3, "a"), Label(4, ""), Label(5, "label 4")]
    assert [label.name for label in unique(labels, lambda _: None)] == [
        "a",
        "a 2",
        "a 3",
        "label 4",
        "label 4 2",
    ]


def test_words() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert hexadecimal(np.array([0.4, 300, -2])) == "#00ff00"
    assert hexadecimal(np.array([np.nan, 0, 0])) is None
