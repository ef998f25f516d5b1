from pathlib import Path

import numpy as np
import pytest
from datasets import AFFINE, SHAPE, image, labels, nifti, pairs

from medseg.errors import InputError
from medseg.io.nifti import write_labels
from medseg.segmentation import Label, LabelTable
from medseg.training.dataset import open_dataset
from medseg.volume import Grid


def test_names_in_headers_are_taken(tmp_path: Path) -> None:
    table = LabelTable((Label(1, "liver"), Label(2, "tumour")))
    (tmp_path / "labels").mkdir()
    nifti(tmp_path / "images" / "a.nii.gz", image())
    mask = tmp_path / "labels" / "a.nii.gz"
    write_labels(labels(1, 2), Grid(SHAPE, AFFINE), mask, labels=table, source=None)
    dataset = open_dataset(tmp_path)
    assert [label.name for label in dataset.labels] == ["liver", "tumour"]
    assert dataset.notes == ("1 mask was read for its labels; name them as `labels:` in dataset.yaml",)


def test_damaged_masks_say_nothing(tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(4), labels(1)])
    (folder / "labels" / "case1.nii.gz").write_bytes(b"")
    assert [label.name for label in open_dataset(folder).labels] == ["label 4"]


def test_too_many_values_are_ids(tmp_path: Path) -> None:
    nifti(tmp_path / "images" / "a.nii.gz", image())
    nifti(tmp_path / "labels" / "a.nii.gz", np.arange(336, dtype=np.int16).reshape(SHAPE))
    with pytest.raises(InputError, match="335 values without names"):
        open_dataset(tmp_path)


def test_masks_that_say_so_are_of_objects(tmp_path: Path) -> None:
    """As medseg writes them, with a name for each object, too."""
    (tmp_path / "labels").mkdir()
    nifti(tmp_path / "images" / "a.nii.gz", image())
    table = LabelTable((Label(1, "nucleus 1"), Label(2, "nucleus 2")))
    mask, grid = tmp_path / "labels" / "a.nii.gz", Grid(SHAPE, AFFINE)
    write_labels(labels(1, 2), grid, mask, labels=table, source=None, objects={"nucleus": (1, 2)})
    dataset = open_dataset(tmp_path)
    assert dataset.of_objects
    assert [label.name for label in dataset.labels] == ["nucleus"]
    assert dataset.notes == (
        "masks say that their values are objects of 'nucleus': taken for `labels: {nucleus: any}`",
    )
    nifti(tmp_path / "images" / "b.nii.gz", image())
    nifti(tmp_path / "labels" / "b.nii.gz", labels(3))
    with pytest.raises(InputError, match=r"objects of nucleus, and some do not: b\.nii\.gz"):
        open_dataset(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / folder / "b.nii.gz").unlink()
    write_labels(labels(1, 2), grid, mask, labels=table, source=None, objects={"round": (1,), "long": (2,)})
    with pytest.raises(InputError, match="objects of long, round; give a mask for each of them"):
        open_dataset(tmp_path)
