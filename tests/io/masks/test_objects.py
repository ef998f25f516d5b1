"""Objects in files of masks: those of medseg's writers come back, ids of other programs are told of."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from numpy.typing import NDArray
from object_masks import GRID, KINDS, NUCLEI, as_nifti, as_nrrd, cubes, things

from medseg.errors import UsageError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.io.masks.objects import ids_of, may_be_ids
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Volume

Way = Callable[[Path, Segmentation], Path]


def read_back(path: Path, told: list[str] | None = None) -> Segmentation:
    return read_segmentation(path, onto=read(path), tell=print if told is None else told.append)


def edited(path: Path, change: Callable[[NDArray[np.uint16]], None]) -> Path:
    """As another program saves it: header and extensions are kept."""
    image = nib.load(path)
    values = np.asarray(image.dataobj).astype(np.uint16)
    change(values)
    nib.save(nib.Nifti1Image(values, image.affine, image.header), path)
    return path


@pytest.mark.parametrize("names", [NUCLEI, KINDS])
@pytest.mark.parametrize("way", [as_nifti, as_nrrd])
def test_objects_come_back(tmp_path: Path, way: Way, names: tuple[str, ...]) -> None:
    before = cubes((5, 2, 9, 300), names)
    after = read_back(way(tmp_path, before))
    assert set(after.kinds) == {"objects"}
    assert {label.name for label in after.labels} == set(names)
    assert things(after) == things(before)
    for name in names:
        assert (after.mask(name) == before.mask(name)).all()


def test_objects_over_labels_keep_their_ids(tmp_path: Path) -> None:
    """A liver in the first layer, with the value of a tumour's id in the second."""
    tumours = cubes((1, 2, 5), ("tumour",))
    liver = np.zeros(GRID.shape, np.uint16)
    liver[1:20, 1:9, 1:9] = 1
    both = Segmentation(
        np.stack([liver, tumours.array[0]]),
        GRID,
        LabelTable((Label(1, "liver"), Label(2, "tumour", layer=1))),
        kinds=("labels", "objects"),
        objects=tumours.objects,
    )
    told: list[str] = []
    after = read_back(as_nrrd(tmp_path, both), told)
    assert (after.kinds, told) == (("labels", "objects"), [])
    assert things(after) == {(1, "tumour"), (2, "tumour"), (5, "tumour")}
    assert (after.array == both.array).all()


@pytest.mark.parametrize("way", [as_nifti, as_nrrd])
def test_many_thousands_of_objects_come_back(tmp_path: Path, way: Way) -> None:
    """4,500: more than labels without names may be, and a header of more than a megabyte."""
    array = np.zeros((1, 140, 140, 1), np.uint16)
    array[0, ::2, ::2, 0] = 1 + np.arange(70 * 70).reshape(70, 70)
    array[array > 4500] = 0
    before = cubes(()).replace(
        array=array,
        grid=Grid((140, 140, 1), np.eye(4)),
        objects=tuple(Object(number, "nucleus") for number in range(1, 4501)),
    )
    after = read_back(way(tmp_path, before))
    assert (after.array == array).all()
    assert things(after) == things(before)


def test_more_objects_than_have_names_come_back(tmp_path: Path) -> None:
    """Two labels in turn, so that no two ids of one are in a row; each voxel another object."""
    count = 40_000
    ids = np.arange(1, count + 1, dtype=np.uint32).reshape(200, 200, 1)
    before = cubes((), KINDS).replace(
        array=ids[None],
        grid=Grid(ids.shape, np.eye(4)),
        objects=tuple(Object(number, KINDS[number % 2]) for number in range(1, count + 1)),
    )
    path = as_nifti(tmp_path, before)
    assert len(nib.load(path).header.extensions[0].get_content()) < 1000
    after = read_back(path)
    assert (after.array == before.array).all()
    assert things(after) == things(before)


def test_nothing_found_comes_back_as_no_objects(tmp_path: Path) -> None:
    after = read_back(as_nifti(tmp_path, cubes(())))
    assert (after.kinds, after.objects, len(after.labels)) == (("objects",), (), 1)


def test_an_object_that_was_erased_since_is_gone(tmp_path: Path) -> None:
    def erase(values: NDArray[np.uint16]) -> None:
        values[values == 2] = 0

    told: list[str] = []
    after = read_back(edited(as_nifti(tmp_path, cubes((1, 2, 3))), erase), told)
    assert things(after) == {(1, "nucleus"), (3, "nucleus")}
    assert told == []


def test_a_value_that_was_drawn_since_is_an_object_of_the_only_label(tmp_path: Path) -> None:
    def draw(values: NDArray[np.uint16]) -> None:
        values[20:22, 2:4, 2:4] = 77

    told: list[str] = []
    after = read_back(edited(as_nifti(tmp_path, cubes((1, 2))), draw), told)
    assert things(after) == {(1, "nucleus"), (2, "nucleus"), (77, "nucleus")}
    assert told == ["values that its header does not know are taken for objects of 'nucleus': 77"]


def test_a_value_that_was_drawn_beside_objects_of_several_labels_leaves_labels(tmp_path: Path) -> None:
    def draw(values: NDArray[np.uint16]) -> None:
        values[20:22, 2:4, 2:4] = 77

    told: list[str] = []
    after = read_back(edited(as_nifti(tmp_path, cubes((1, 2), KINDS)), draw), told)
    assert (after.kinds, after.objects) == (("labels",), ())
    assert [label.name for label in after.labels] == ["round 1", "long 2", "label 77"]
    assert told == ["its header does not say whose objects its values 77 are: all values are labels"]


def test_ids_are_of_the_label_that_is_said() -> None:
    plain = cubes((4, 7, 1)).replace(
        kinds=(), objects=(), labels=LabelTable(tuple(Label(n, f"label {n}") for n in (1, 4, 7)))
    )
    found = ids_of("cell", plain)
    assert things(found) == {(1, "cell"), (4, "cell"), (7, "cell")}
    assert (found.array == plain.array).all()
    named = plain.replace(labels=LabelTable((Label(1, "L1"), Label(4, "L2"), Label(7, "L3"))))
    assert things(ids_of("vertebra", named)) == {(1, "vertebra"), (4, "vertebra"), (7, "vertebra")}
    with pytest.raises(UsageError, match="'L2' is one of the mask's labels"):
        ids_of("L2", named)


@pytest.mark.parametrize("ids", [(), (7,)])
def test_one_object_or_none_is_as_many(ids: tuple[int, ...]) -> None:
    """As of a picture with one cell, or with none, among others of the same cohort."""
    plain = cubes(ids).replace(
        kinds=(), objects=(), labels=LabelTable(tuple(Label(n, f"label {n}") for n in ids))
    )
    found = ids_of("cell", plain)
    assert (found.kinds, [label.name for label in found.labels]) == (("objects",), ["cell"])
    assert things(found) == {(number, "cell") for number in ids}


def test_what_the_mask_says_itself_is_not_overruled() -> None:
    own = cubes((1, 2))
    assert ids_of("nucleus", own) is own
    with pytest.raises(UsageError, match="it holds objects of nucleus; leave the option out"):
        ids_of("cell", own)
    layered = own.replace(array=np.repeat(own.array, 2, axis=0), kinds=("labels", "labels"), objects=())
    with pytest.raises(UsageError, match="it holds overlapping labels"):
        ids_of("cell", layered)


def test_objects_that_another_grid_has_no_voxel_for_are_told_and_gone(tmp_path: Path) -> None:
    """Each second voxel along i is an object; of every three voxels the coarse grid has the middle one's."""
    array = np.zeros((1, 30, 4, 4), np.uint16)
    array[0, ::2] = np.arange(1, 16).reshape(15, 1, 1)
    fine = Grid((30, 4, 4), np.eye(4))
    coarse = Grid((10, 4, 4), np.array([[3.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    before = cubes(()).replace(
        array=array, grid=fine, objects=tuple(Object(number, "nucleus") for number in range(1, 16))
    )
    told: list[str] = []
    image = Volume(np.zeros((1, *coarse.shape), np.int16), coarse)
    after = read_segmentation(as_nifti(tmp_path, before), onto=image, tell=told.append)
    left = {n for n in array[0, 1::3, 0, 0].tolist() if n}
    assert 3 < len(left) < 15
    assert {thing.id for thing in after.objects} == left
    assert told[-1] == f"no voxel of the image lies in {15 - len(left)} of 15 objects: they are left out"
    assert {thing.id for thing in read_back(as_nifti(tmp_path, after)).objects} == left


def test_sixteen_values_without_names_may_be_ids() -> None:
    tables = [LabelTable(tuple(Label(n, f"label {n}") for n in range(1, 1 + count))) for count in (15, 16)]
    assert [may_be_ids(table) for table in tables] == [False, True]
    assert not may_be_ids(LabelTable(tuple(Label(n, f"rib {n}") for n in range(1, 25))))
