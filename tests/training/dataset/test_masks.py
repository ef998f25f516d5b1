from pathlib import Path

import numpy as np
import pytest
from datasets import nifti, picture

from medseg.errors import InputError
from medseg.training.dataset.masks import inside, is_label_map, present, values_of


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_values_that_are_there(kind: type) -> None:
    array: np.ndarray = np.zeros((200, 100, 60), kind)
    array[0, 0, 0], array[-1, -1, -1] = 7, 200
    assert present(array) == [7, 200]
    assert present(array[1:-1]) == []


@pytest.mark.parametrize(
    ("values", "threshold", "picture_", "wanted"),
    [
        ([0, 0, 0], None, False, [0, 0, 0]),
        ([0, 9, 9], None, False, [0, 1, 1]),
        ([0, 255, 255], None, True, [0, 1, 1]),
        ([3, 127, 128, 255], None, True, [0, 0, 1, 1]),
        ([0, 40000, 30000, 65535], None, True, [0, 1, 0, 1]),
        ([0, 1, 2, 3], 1.5, False, [0, 0, 1, 1]),
    ],
)
def test_inside_of_one_structure(
    values: list[int], threshold: float | None, picture_: bool, wanted: list[int]
) -> None:
    told: list[str] = []
    array = np.array(values, np.uint16)
    assert inside(array, threshold, "it", told.append, picture=picture_).tolist() == wanted
    assert len(told) == (picture_ and len(values) == 4)


@pytest.mark.parametrize(
    ("values", "picture_"), [([0, 1, 2], False), ([0, 1, 2], True), ([0, 9, 255], False)]
)
def test_several_values_are_no_mask_of_one_structure(values: list[int], picture_: bool) -> None:
    with pytest.raises(InputError, match=r"it: holds 2 values besides 0 .* say `threshold:`"):
        inside(np.array(values, np.uint16), None, "it", print, picture=picture_)


def test_pictures_of_masks(tmp_path: Path) -> None:
    grey = np.arange(30, dtype=np.uint8).reshape(6, 5)
    values, grid = values_of(picture(tmp_path / "grey.png", grey))
    assert grid.shape == (6, 5, 1)
    assert np.array_equal(values[..., 0], grey)
    same, _ = values_of(picture(tmp_path / "rgb.png", np.stack([grey] * 3, axis=-1)))
    assert np.array_equal(same[..., 0], grey)
    colours = np.stack([grey, grey, grey + 1], axis=-1)
    with pytest.raises(InputError, match="a mask in colours"):
        values_of(picture(tmp_path / "colours.png", colours))


def test_which_masks_name_their_structures(tmp_path: Path) -> None:
    assert is_label_map(nifti(tmp_path / "a.nii", np.zeros((3, 3, 3), np.uint8)))
    assert not is_label_map(tmp_path / "a.json")
    assert not is_label_map(tmp_path / "a.seg.nrrd")
    (tmp_path / "IM1").write_bytes(bytes(128) + b"DICM")
    assert not is_label_map(tmp_path / "IM1")
