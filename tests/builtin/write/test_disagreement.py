"""The map of disagreement of members that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from results import result_of

from medseg.builtin.write.disagreement import Disagreement, variation_ratio
from medseg.io.nifti import read_nifti
from medseg.prediction import Wanted
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

GRID = Grid((6, 5, 4), np.array([[0.0, -2.0, 0, 5], [2.0, 0, 0, -7], [0, 0, 3.0, 9], [0, 0, 0, 1]]))
TABLE = LabelTable((Label(1, "liver"), Label(2, "tumour"), Label(3, "vessel", layer=1)))


def written(folder: Path, arrays: list[NDArray[np.uint8]]) -> list[Path]:
    members = tuple(Segmentation(array, GRID, TABLE) for array in arrays)
    result = result_of(members[0], members=members)
    return list(Disagreement.check(Disagreement()(result, folder), folder=folder))


def test_shares_that_can_be_counted(tmp_path: Path) -> None:
    members = [np.zeros((2, *GRID.shape), np.uint8) for _ in range(4)]
    for array in members:
        array[0, 0] = 1  # all agree
    members[0][0, 1] = 1  # one of four
    members[0][0, 2], members[1][0, 2] = 1, 2  # two, each with its own
    members[0][0, 3] = members[1][0, 3] = 2  # half and half
    members[2][1, 4] = 3  # in the other layer
    (path,) = written(tmp_path, members)
    assert path.name == "disagreement.nii.gz"
    image = read_nifti(path)
    assert image.grid.same_as(GRID)
    for slice_number, share in enumerate([0, 0.25, 0.5, 0.5, 0.25, 0]):
        assert image.array[0, slice_number] == pytest.approx(share)


def test_it_is_one_less_the_share_of_the_commonest_value() -> None:
    members = np.random.default_rng(0).integers(0, 4, (5, 1, 4, 3, 2)).astype(np.uint8)
    commonest = np.array([[members[:, 0] == value] for value in range(4)]).sum(axis=2)[:, 0].max(axis=0)
    assert variation_ratio(list(members)) == pytest.approx(1 - commonest / 5)


def test_one_member_agrees_with_itself(tmp_path: Path) -> None:
    assert written(tmp_path, [np.zeros((2, *GRID.shape), np.uint8)]) == []
    assert Disagreement().wants == Wanted(members=True)


def test_objects_with_other_ids_are_no_disagreement(tmp_path: Path) -> None:
    members = []
    for first, second in ((1, 2), (2, 1)):
        array = np.zeros((1, *GRID.shape), np.uint8)
        array[0, 0], array[0, 1] = first, second
        array[0, 2] = 3 if first == 1 else 0  # one member alone has a third
        names = LabelTable((Label(1, "nucleus"),))
        objects = tuple(Object(number, "nucleus") for number in (1, 2, 3))
        members.append(Segmentation(array, GRID, names, ("objects",), objects))
    result = result_of(members[0], members=tuple(members))
    (path,) = Disagreement()(result, tmp_path)
    assert [float(share.max()) for share in read_nifti(path).array[0]] == [0, 0, 0.5, 0, 0, 0]
