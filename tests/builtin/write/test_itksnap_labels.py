import re
from pathlib import Path

import numpy as np
from results import result_of

from medseg.builtin.write.itksnap_labels import ItksnapLabels
from medseg.segmentation import Label, LabelTable, LayerKind, Object, Segmentation
from medseg.volume import Grid

GRID = Grid((3, 3, 3), np.eye(4))
ROW = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.]+)\s+([01])\s+([01])\s+"([^"]*)"')
Row = tuple[int, tuple[int, int, int], str]


def written(
    folder: Path, *labels: Label, kinds: tuple[LayerKind, ...] = (), things: tuple[Object, ...] = ()
) -> dict[str, Path]:
    table = LabelTable(labels)
    segmentation = Segmentation(np.zeros((table.layers, 3, 3, 3), np.uint8), GRID, table, kinds, things)
    result = result_of(segmentation)
    return {path.name: path for path in ItksnapLabels.check(ItksnapLabels()(result, folder), folder=folder)}


def rows(path: Path) -> list[Row]:
    """As ITK-SNAP reads the file: comments skipped, seven numbers and a name in quotes."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = ROW.fullmatch(line)
        assert match, line
        value, red, green, blue = (int(match[n]) for n in range(1, 5))
        found.append((value, (red, green, blue), match[8]))
    return found


def test_values_colours_and_names(tmp_path: Path) -> None:
    files = written(tmp_path, Label(1, "liver", colour="#dd8265"), Label(7, 'the "odd"\n one'))
    assert list(files) == ["segmentation-labels.txt"]
    found = rows(files["segmentation-labels.txt"])
    assert found[:2] == [(0, (0, 0, 0), "Clear Label"), (1, (221, 130, 101), "liver")]
    assert found[2][0] == 7
    assert found[2][2] == "the 'odd' one"
    assert found[2][1] != (0, 0, 0)


def test_background_is_invisible_and_labels_are_not(tmp_path: Path) -> None:
    (path,) = written(tmp_path, Label(1, "liver")).values()
    lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    assert [line[4:7] for line in lines] == [["0", "0", "0"], ["1", "1", "1"]]


def test_a_file_beside_each_nifti_file(tmp_path: Path) -> None:
    files = written(tmp_path, Label(1, "liver"), Label(2, "Liver Tumour", layer=1))
    assert list(files) == ["segmentation-labels.txt", "segmentation-liver-tumour-labels.txt"]
    assert [row[2] for row in rows(files["segmentation-liver-tumour-labels.txt"])] == [
        "Clear Label",
        "Liver Tumour",
    ]


def test_objects_are_labels_and_ids_that_itksnap_cannot_hold_are_left_out(tmp_path: Path) -> None:
    things = (Object(1, "cell"), Object(70_000, "cell"), Object(3, "cell"))
    (path,) = written(tmp_path, Label(1, "cell"), kinds=("objects",), things=things).values()
    assert [(row[0], row[2]) for row in rows(path)] == [(0, "Clear Label"), (1, "cell 1"), (3, "cell 3")]
