"""Objects through the files that medseg's writers leave: the same numbers whichever way they came."""

from pathlib import Path

import numpy as np
import pytest

from medseg.builtin.write.nifti import Nifti
from medseg.builtin.write.seg_nrrd import SegNrrd
from medseg.evaluation import evaluate
from medseg.evaluation.objects import with_objects
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.prediction import Prediction, Result
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Volume

SHAPE = (24, 12, 10)
TABLE = LabelTable((Label(1, "liver"), Label(2, "liver tumour", code="SCT:108369006", layer=1)))
METRICS = "dice, lesion-f1, panoptic-quality, average-precision"


def split(*starts: int, labels: LabelTable = TABLE, ids: tuple[int, ...] = ()) -> Segmentation:
    """A liver, and tumours that touch each other where they start two voxels apart; the last lies outside."""
    array = np.zeros((2, *SHAPE), np.uint16)
    array[0, 1:16, 1:9, 1:9] = 1
    numbers = ids or tuple(range(1, 1 + len(starts)))
    for number, start in zip(numbers, starts, strict=True):
        array[1, start : start + 2, 2:5, 2:5] = number
    return Segmentation(
        array,
        Grid(SHAPE, np.diag([1.0, 1.5, 2.0, 1.0])),
        labels,
        kinds=("labels", "objects"),
        objects=tuple(Object(number, "liver tumour") for number in numbers),
    )


def written(folder: Path, segmentation: Segmentation) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    grid = segmentation.grid
    return Result(
        case_id="a",
        volume=Volume(np.zeros((1, *grid.shape), np.int16), grid),
        prediction=Prediction(segmentation=segmentation),
        segmentation=segmentation,
        measurements=(),
        provenance={},
    )


def as_nrrd(folder: Path, segmentation: Segmentation) -> Path:
    (path,) = SegNrrd()(written(folder, segmentation), folder)
    return path


@pytest.mark.parametrize("ids", [(1, 2, 3), (7, 300, 12)])
def test_ap_and_pq_are_the_same_by_nifti_and_by_seg_nrrd(tmp_path: Path, ids: tuple[int, ...]) -> None:
    """Two tumours that touch are two; as labels by connection they would be one."""
    found, true = split(2, 4, 20, ids=ids), split(2, 4, 9)
    in_memory = evaluate(found, true, METRICS)
    for path, segmentation in ((tmp_path / "found", found), (tmp_path / "true", true)):
        list(Nifti()(written(path, segmentation), path))
    by_nifti = evaluate(tmp_path / "found", tmp_path / "true", METRICS)
    by_nrrd = evaluate(as_nrrd(tmp_path / "f", found), as_nrrd(tmp_path / "t", true), METRICS)
    assert by_nrrd == by_nifti == in_memory
    rows = {(row.quantity, row.label): row.value for row in by_nrrd}
    assert rows["ap@0.50", "liver tumour"] == pytest.approx(2 / 4)
    assert rows["pq", "liver tumour"] == pytest.approx(2 / 3)


def test_a_folder_with_a_seg_nrrd_alone_is_a_result(tmp_path: Path) -> None:
    found = split(2, 4)
    as_nrrd(tmp_path / "out", found)
    (tmp_path / "out" / "run.json").write_text('{"case": "p7"}')
    rows = evaluate(tmp_path / "out", as_nrrd(tmp_path / "t", found), "dice")
    assert [(row.label, row.value) for row in rows] == [("liver", 1.0), ("liver tumour", 1.0)]


def test_names_codes_and_places_come_back(tmp_path: Path) -> None:
    before = split(2, 20)  # the second lies outside the liver and could share its layer
    path = as_nrrd(tmp_path, before)
    after = with_objects(path, read_segmentation(path, onto=read(path), tell=print))
    assert [(label.name, label.code) for label in after.labels] == [
        ("liver", None),
        ("liver tumour", "SCT:108369006"),
    ]
    for name in ("liver", "liver tumour"):
        assert (after.mask(name) == before.mask(name)).all()
    assert len(after.objects) == 2


def test_numbered_labels_are_no_objects(tmp_path: Path) -> None:
    array = np.zeros((1, *SHAPE), np.uint8)
    array[0, 2:4, 2:5, 2:5], array[0, 8:10, 2:5, 2:5] = 1, 2
    ribs = Segmentation(array, Grid(SHAPE, np.eye(4)), LabelTable((Label(1, "rib 1"), Label(2, "rib 2"))))
    path = as_nrrd(tmp_path, ribs)
    part = read_segmentation(path, onto=read(path), tell=print)
    assert with_objects(path, part) is part


def test_objects_drawn_over_each_other_stay_labels(tmp_path: Path) -> None:
    """As someone may leave them who edits the file: the second segment has the first one's voxels too."""
    path = as_nrrd(tmp_path, split(2, 4))
    part = read_segmentation(path, onto=read(path), tell=print)
    array = part.array.copy()
    array = np.concatenate([array, array[-1:]])
    names = [label.name for label in part.labels]
    assert names == ["liver", "liver tumour 1", "liver tumour 2"]
    second = part.labels["liver tumour 2"]
    array[-1] = np.where(part.mask("liver tumour 1"), second.value, 0)
    moved = [
        Label(label.value, label.name, layer=len(array) - 1 if label.name == second.name else label.layer)
        for label in part.labels
    ]
    drawn = Segmentation(array, part.grid, LabelTable(tuple(moved)))
    assert with_objects(path, drawn) is drawn
