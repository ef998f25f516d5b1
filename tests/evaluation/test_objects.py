"""Objects through the files that medseg's writers leave: the same numbers whichever way they came."""

from collections.abc import Iterable
from pathlib import Path

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from numpy.typing import NDArray
from object_masks import KINDS, NUCLEI, as_nifti, as_nrrd, cubes, things
from results import result_of

from medseg.builtin.write.nifti import Nifti
from medseg.errors import InputError
from medseg.evaluation import evaluate
from medseg.evaluation.objects import as_objects
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.prediction import Measured
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

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


@pytest.mark.parametrize("ids", [(1, 2, 3), (7, 300, 12)])
def test_ap_and_pq_are_the_same_by_nifti_and_by_seg_nrrd(tmp_path: Path, ids: tuple[int, ...]) -> None:
    """Two tumours that touch are two; as labels by connection they would be one."""
    found, true = split(2, 4, 20, ids=ids), split(2, 4, 9)
    in_memory = evaluate(found, true, METRICS)
    for path, segmentation in ((tmp_path / "found", found), (tmp_path / "true", true)):
        path.mkdir()
        list(Nifti()(result_of(segmentation), path))
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


def id_map(path: Path, array: NDArray[np.unsignedinteger]) -> Path:
    """As other programs leave it: no name says what the values are."""
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.5, 2.0, 1.0])), path)
    return path


def read_back(path: Path) -> Segmentation:
    return read_segmentation(path, onto=read(path), tell=print)


def numbers_of(rows: Iterable[Measured]) -> dict[tuple[str, str], float | str | None]:
    return {(row.quantity, row.label): row.value for row in rows}


@pytest.mark.parametrize("names", [NUCLEI, KINDS])
def test_the_same_objects_under_other_ids_are_all_found(tmp_path: Path, names: tuple[str, ...]) -> None:
    found, true = cubes((1, 2, 3, 4), names), cubes((4, 7, 1, 2), names)
    rows = numbers_of(evaluate(as_nifti(tmp_path / "f", found), as_nifti(tmp_path / "t", true), METRICS))
    for name in names:
        assert {rows[quantity, name] for quantity in ("ap@0.50", "ap@0.75", "pq", "dice")} == {1.0}


def test_an_id_map_is_of_objects_of_the_only_label(tmp_path: Path) -> None:
    told: list[str] = []
    result = as_nifti(tmp_path / "f", cubes((1, 2, 3, 4)))
    reference = id_map(tmp_path / "ids.nii.gz", cubes((4, 7, 1, 2)).array[0])
    rows = numbers_of(evaluate(result, reference, METRICS))
    assert {rows[quantity, "nucleus"] for quantity in ("ap@0.50", "pq", "dice")} == {1.0}
    ids = as_objects(read_segmentation(reference, onto=read(reference)), read_back(result), told.append)
    assert told == ["names no label: its 4 values are taken for ids of objects of 'nucleus'"]
    assert things(ids) == things(cubes((4, 7, 1, 2)))


def test_two_id_maps_are_of_objects_where_that_is_said(tmp_path: Path) -> None:
    """As of another program, against a reference of ids: without a word values are labels, 1 with 1."""
    found = id_map(tmp_path / "found.nii.gz", cubes((1, 2, 3, 4)).array[0])
    true = id_map(tmp_path / "true.nii.gz", cubes((4, 7, 1, 2)).array[0])
    rows = numbers_of(evaluate(found, true, METRICS, objects="cube"))
    assert {rows[quantity, "cube"] for quantity in ("ap@0.50", "ap@0.75", "pq", "dice")} == {1.0}
    assert numbers_of(evaluate(found, true, METRICS))["ap@0.50", "label 4"] == 0.0
    own = as_nifti(tmp_path / "f", cubes((3, 1, 2, 4), ("cube",)))
    assert numbers_of(evaluate(own, true, METRICS, objects="cube"))["pq", "cube"] == 1.0
    mask = id_map(tmp_path / "mask.nii.gz", (cubes((1, 2, 3, 4)).array[0] > 0).astype(np.uint8))
    assert numbers_of(evaluate(mask, true, METRICS, objects="cube"))["ap@0.75", "cube"] == 0.0


def test_objects_that_each_have_a_name_are_objects_where_that_is_said(tmp_path: Path) -> None:
    """As vertebrae, L1 and L2: under other names, and in another order, they are the same objects."""
    found = id_map(tmp_path / "found.nii.gz", cubes((1, 2, 3, 4)).array[0])
    true = id_map(tmp_path / "true.nii.gz", cubes((4, 3, 1, 2)).array[0])
    names = '{"labels": {"1": "L1", "2": "L2", "3": "L3", "4": "L4"}}'
    (tmp_path / "true.json").write_text(names, encoding="ascii")
    rows = numbers_of(evaluate(found, true, METRICS, objects="vertebra"))
    assert {rows[quantity, "vertebra"] for quantity in ("ap@0.50", "pq", "dice")} == {1.0}


def test_many_values_without_names_may_be_ids_and_a_note_says_how_to_say_so(tmp_path: Path) -> None:
    told: list[str] = []
    for count in (15, 16):
        values = np.arange(count * 2, dtype=np.uint8).reshape(count, 2, 1) // 2 + 1
        path = id_map(tmp_path / f"{count}.nii.gz", values)
        evaluate(path, path, "dice", tell=told.append)
    assert [line for line in told if "--objects NAME" in line] == told[-1:]
    assert len(told) == 1


def test_a_mask_of_one_value_is_its_connected_parts(tmp_path: Path) -> None:
    """Whatever the value: of four cubes that touch in pairs there are two."""
    mask = id_map(tmp_path / "mask.nii.gz", 200 * (cubes((1, 2, 3, 4)).array[0] > 0).astype(np.uint8))
    rows = numbers_of(evaluate(as_nifti(tmp_path / "f", cubes((1, 2, 3, 4))), mask, METRICS))
    assert (rows["dice", "nucleus"], rows["ap@0.75", "nucleus"]) == (1.0, 0.0)


def test_nothing_found_is_compared_with_an_id_map(tmp_path: Path) -> None:
    reference = id_map(tmp_path / "ids.nii.gz", cubes((4, 7, 1, 2)).array[0])
    rows = numbers_of(evaluate(as_nifti(tmp_path / "f", cubes(())), reference, METRICS))
    assert (rows["dice", "nucleus"], rows["ap@0.50", "nucleus"]) == (0.0, 0.0)


def test_an_id_map_beside_several_labels_of_objects_is_refused(tmp_path: Path) -> None:
    reference = id_map(tmp_path / "ids.nii.gz", cubes((4, 7, 1, 2)).array[0])
    with pytest.raises(
        InputError, match=r"^ids\.nii\.gz \(reference\): names no label, and its 4 values may be"
    ):
        evaluate(as_nifti(tmp_path / "f", cubes((1, 2, 3, 4), KINDS)), reference, METRICS)
    values = id_map(tmp_path / "values.nii.gz", cubes((1, 2, 3, 4), KINDS).by_label().array[0])
    rows = numbers_of(evaluate(as_nifti(tmp_path / "g", cubes((1, 2, 3, 4), KINDS)), values, METRICS))
    assert (rows["dice", "round"], rows["dice", "long"]) == (1.0, 1.0)
    assert read_segmentation(values, onto=read(values)).kinds == ("labels",)
