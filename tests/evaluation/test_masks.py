from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from dicom_series import write_dicom_series
from segmentations import source_images, write_seg

from medseg.errors import GeometryError, InputError
from medseg.evaluation.masks import read_pair
from medseg.evaluation.pairs import Pair
from medseg.segmentation import Segmentation

Save = Callable[..., Path]


def read(prediction: Path, reference: Path, *more: Path) -> tuple[Segmentation, Segmentation, list[str]]:
    told: list[str] = []
    found, wanted = read_pair(Pair("a", (prediction, *more), (reference,)), told.append)
    return found, wanted, told


def test_a_prediction_with_other_axes_is_the_same_voxels(tmp_path: Path, save: Save) -> None:
    reference = save(tmp_path / "ref.nii.gz", {1: 3})
    image = nib.load(reference)
    turn = np.array([[0, 0, -1, image.shape[0] - 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])  # j, k, -i
    array = np.asarray(image.dataobj).transpose(1, 2, 0)[:, :, ::-1]
    nib.save(nib.Nifti1Image(array, image.affine @ turn), tmp_path / "pred.nii.gz")
    found, wanted, told = read(tmp_path / "pred.nii.gz", reference)
    assert (found.mask("label 1") == wanted.mask("label 1")).all()
    assert told == []


def test_a_prediction_of_another_resolution_goes_onto_the_reference(tmp_path: Path, save: Save) -> None:
    reference = save(tmp_path / "ref.nii.gz", {1: 3})
    image = nib.load(reference)
    fine = np.repeat(np.asarray(image.dataobj), 2, axis=0)
    affine = image.affine @ np.diag([0.5, 1, 1, 1])
    affine[:3, 3] = image.affine[:3, 3] - image.affine[:3, 0] / 4
    nib.save(nib.Nifti1Image(fine, affine), tmp_path / "pred.nii.gz")
    found, wanted, told = read(tmp_path / "pred.nii.gz", reference)
    assert found.grid.same_as(wanted.grid)
    assert (found.mask("label 1") == wanted.mask("label 1")).all()
    assert [line.partition(":")[0] for line in told] == ["prediction"]
    assert "nearest labels are taken" in told[0]


def test_a_prediction_of_another_place_is_refused(tmp_path: Path, save: Save) -> None:
    away = np.diag([1.0, 1.5, 3.0, 1.0])
    away[:3, 3] = 500
    with pytest.raises(
        GeometryError, match=r"pred\.nii\.gz: none of its 64 labelled voxels lies in the image"
    ):
        read(save(tmp_path / "pred.nii.gz", {1: 3}, affine=away), save(tmp_path / "ref.nii.gz", {1: 3}))


def test_further_layers_are_read_with_the_first(tmp_path: Path, save: Save) -> None:
    first = save(tmp_path / "segmentation.nii.gz", {1: 1}, {1: "liver"})
    further = save(tmp_path / "segmentation-body.nii.gz", {7: 1}, {7: "body"})
    found, _, _ = read(first, save(tmp_path / "ref.nii.gz", {1: 1}), further)
    assert [(label.name, label.layer) for label in found.labels] == [("liver", 0), ("body", 1)]
    assert (found.mask("liver") == found.mask("body")).all()
    assert found.mask("body").any()


def test_files_that_use_one_value_twice_are_refused(tmp_path: Path, save: Save) -> None:
    first = save(tmp_path / "segmentation.nii.gz", {1: 1}, {1: "liver"})
    further = save(tmp_path / "segmentation-body.nii.gz", {1: 1}, {1: "body"})
    with pytest.raises(InputError, match=r"segmentation\.nii\.gz and the masks beside it: two labels share"):
        read(first, save(tmp_path / "ref.nii.gz", {1: 1}), further)


def test_contours_without_a_grid_lie_on_the_predictions(tmp_path: Path, save: Save) -> None:
    folder = write_dicom_series(tmp_path / "ct", np.zeros((12, 10, 6), np.int16))
    masks = np.zeros((12, 10, 6, 1), np.uint8)
    masks[1:7, 1:7, 1:4] = 1
    drawn = write_seg(
        tmp_path / "seg.dcm",
        source_images(folder),
        np.ascontiguousarray(masks.transpose(2, 1, 0, 3)),
        names=["Liver"],
    )
    from medseg.io import read as read_image
    from medseg.io.nifti import write_labels
    from medseg.segmentation import Label, LabelTable

    grid = read_image(folder).grid
    prediction = tmp_path / "pred.nii.gz"
    write_labels(masks[..., 0], grid, prediction, labels=LabelTable((Label(1, "liver"),)), source=None)
    found, wanted, _ = read(prediction, drawn)
    assert (found.mask("liver") == wanted.mask("Liver")).all()
    assert wanted.mask("Liver").sum() == 6 * 6 * 3
    with pytest.raises(InputError, match="neither it nor its prediction says which voxels"):
        read(drawn, drawn)


@pytest.mark.parametrize(
    ("voxel", "said"), [(np.nan, "not whole numbers|not finite|NaN"), (1.5, "not whole numbers")]
)
def test_scores_and_nan_are_no_labels(tmp_path: Path, save: Save, voxel: float, said: str) -> None:
    array: Any = np.zeros((6, 6, 6), np.float32)
    array[1, 1, 1] = voxel
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "pred.nii.gz")
    with pytest.raises(InputError, match=said):
        read(tmp_path / "pred.nii.gz", save(tmp_path / "ref.nii.gz", {1: 1}))
