import numpy as np

from medseg.report.label_files import label_files, label_tables, layer_table
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid


def layered() -> Segmentation:
    """Organs in the first layer, two labels in the second, objects in the third."""
    array = np.zeros((3, 4, 4, 4), np.uint8)
    array[0, 0], array[0, 1] = 1, 2
    array[1, 2, :2], array[1, 2, 2:] = 3, 4
    array[2, 3, 0], array[2, 3, 1] = 7, 9
    labels = LabelTable(
        (
            Label(1, "left kidney", pair="right kidney"),
            Label(2, "right kidney", pair="left kidney", colour="#00ff00"),
            Label(3, "cyst", layer=1),
            Label(4, "Tumour", layer=1),
            Label(5, "cell", layer=2, code="SCT:4421005"),
        )
    )
    things = (Object(7, "cell"), Object(9, "cell"))
    return Segmentation(array, Grid((4, 4, 4), np.eye(4)), labels, ("labels", "labels", "objects"), things)


def test_tables_are_those_of_the_files_and_their_values_those_of_the_arrays() -> None:
    segmentation = layered()
    files = list(label_files(segmentation))
    assert [file.ending for file in files] == ["", "-cyst", "-tumour", "-cell"]
    assert [(file.ending, file.labels) for file in files] == list(label_tables(segmentation))
    for file in files:
        assert set(np.unique(file.array)) - {0} == {label.value for label in file.labels}
    assert [file.objects for file in files] == [{}, {}, {}, {"cell": (7, 9)}]


def test_every_label_has_a_colour_and_a_pair_only_where_both_are() -> None:
    first, cyst, *_ = (table for _, table in label_tables(layered()))
    assert all(label.colour for label in first)
    assert first["right kidney"].colour == "#00ff00"
    assert first["left kidney"].pair == "right kidney"
    assert cyst["cyst"].layer == 0


def test_a_layer_of_objects_is_a_table_of_objects() -> None:
    table = layer_table(layered(), 2)
    assert [(label.value, label.name, label.code) for label in table] == [
        (7, "cell 7", "SCT:4421005"),
        (9, "cell 9", "SCT:4421005"),
    ]
    assert [label.name for label in layer_table(layered(), 1)] == ["cyst", "Tumour"]
