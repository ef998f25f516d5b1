from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from dicom_series import write_dicom_series
from segmentations import source_images, write_seg

from medseg.errors import GeometryError, InputError
from medseg.evaluation import evaluate
from medseg.evaluation.masks import read_pair
from medseg.evaluation.pairs import Pair
from medseg.io.nifti import write_labels
from medseg.report.label_files import label_files
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

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


def test_files_that_use_one_value_twice_are_renumbered(tmp_path: Path, save: Save) -> None:
    first = save(tmp_path / "segmentation.nii.gz", {1: 1, 2: 8}, {1: "liver", 2: "spleen"})
    further = save(tmp_path / "segmentation-body.nii.gz", {1: 2, 3: 7}, {1: "body", 3: "skin"})
    found, wanted, told = read(first, save(tmp_path / "ref.nii.gz", {1: 1, 2: 2, 3: 7}), further)
    values = [(label.name, label.value) for label in found.labels]
    assert values == [("liver", 1), ("spleen", 2), ("skin", 3), ("body", 4)]
    assert (found.mask("body") == wanted.mask("label 2")).all()
    assert (found.mask("skin") == wanted.mask("label 3")).all()
    assert told == ["prediction: label 'body' has the value 4, as another file has a label 1"]


def test_files_that_use_one_name_twice_are_refused(tmp_path: Path, save: Save) -> None:
    first = save(tmp_path / "segmentation.nii.gz", {1: 1}, {1: "liver"})
    further = save(tmp_path / "segmentation-body.nii.gz", {2: 1}, {2: "liver"})
    with pytest.raises(InputError, match=r"segmentation\.nii\.gz and the masks beside it: two labels share"):
        read(first, save(tmp_path / "ref.nii.gz", {1: 1}), further)


def test_the_objects_of_a_label_are_read_as_they_were_split(tmp_path: Path) -> None:
    """Two tumours in a layer of objects, as `split` leaves them, through the files of `nifti`."""
    shape = (20, 8, 8)
    array = np.zeros((2, *shape), np.uint8)
    array[0, 1:18, 1:6, 1:6] = 1
    array[1, 2:5, 2:5, 2:5], array[1, 9:14, 2:5, 2:5] = 1, 2
    split = Segmentation(
        array,
        Grid(shape, np.eye(4)),
        LabelTable((Label(1, "liver"), Label(2, "liver tumour", layer=1))),
        kinds=("labels", "objects"),
        objects=(Object(1, "liver tumour"), Object(2, "liver tumour")),
    )
    paths = []
    for ending, own, labels, objects in label_files(split):
        paths.append(tmp_path / f"segmentation{ending}.nii.gz")
        write_labels(own, split.grid, paths[-1], labels=labels, source=None, objects=objects)
    assert [path.name for path in paths] == ["segmentation.nii.gz", "segmentation-liver-tumour.nii.gz"]
    found, _, _ = read(paths[0], paths[0], paths[1])
    assert [(label.name, label.layer) for label in found.labels] == [("liver", 0), ("liver tumour", 1)]
    assert (found.kinds, found.objects) == (split.kinds, split.objects)
    for name in ("liver", "liver tumour"):
        assert (found.mask(name) == split.mask(name)).all()
    rows = {
        row.quantity: row.value for row in evaluate(found, split, "dice, lesion-f1", labels=["liver tumour"])
    }
    assert (rows["dice"], rows["lesions-detected"], rows["lesions-true"]) == (1, 2, 2)
    alone, _, _ = read(paths[1], paths[0])
    assert [(label.name, alone.kinds) for label in alone.labels] == [("liver tumour", ("objects",))]


@pytest.mark.parametrize("file", ["ribs.nii.gz", "chest.nii.gz", "chest-label.nii.gz", "a-label-1.nii.gz"])
def test_numbered_labels_are_no_objects_where_no_file_is_called_so(
    tmp_path: Path, save: Save, file: str
) -> None:
    stem = "label" if "label" in file else "rib"
    path = save(tmp_path / file, {1: 1, 2: 8}, {1: f"{stem} 1", 2: f"{stem} 2"})
    found, _, _ = read(path, path)
    assert [(label.name, found.kinds) for label in found.labels] == [
        (f"{stem} 1", ("labels",)),
        (f"{stem} 2", ("labels",)),
    ]


def test_a_file_without_any_object_has_no_label(tmp_path: Path, save: Save) -> None:
    first = save(tmp_path / "segmentation.nii.gz", {1: 1}, {1: "liver"})
    found, _, _ = read(first, first, save(tmp_path / "segmentation-label-1.nii.gz", {}, {}))
    assert [label.name for label in found.labels] == ["liver"]


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

    grid = read_image(folder).grid
    prediction = tmp_path / "pred.nii.gz"
    write_labels(masks[..., 0], grid, prediction, labels=LabelTable((Label(1, "liver"),)), source=None)
    found, wanted, _ = read(prediction, drawn)
    assert (found.mask("liver") == wanted.mask("Liver")).all()
    assert wanted.mask("Liver").sum() == 6 * 6 * 3
    with pytest.raises(InputError, match="neither it nor its prediction says which voxels"):
        read(drawn, drawn)


def test_a_file_of_several_volumes_is_refused_on_either_side(tmp_path: Path, save: Save) -> None:
    one = save(tmp_path / "one.nii.gz", {1: 1})
    array = np.asarray(nib.load(one).dataobj)
    nib.save(nib.Nifti1Image(np.stack([array, array], axis=-1), nib.load(one).affine), tmp_path / "two.nii")
    for pair in ((one, tmp_path / "two.nii"), (tmp_path / "two.nii", one)):
        with pytest.raises(InputError, match=r"two\.nii: holds 2 volumes; give a file that holds one"):
            read(*pair)


def test_a_picture_is_told_its_scale(tmp_path: Path, save: Save) -> None:
    from PIL import Image

    array = np.zeros((12, 14), np.uint8)
    array[2:6, 3:9] = 255
    Image.fromarray(array).save(tmp_path / "ref.png")
    with pytest.raises(
        GeometryError, match=r"labels in mm .* an image in px; say its scale with --pixel-size"
    ):
        read(save(tmp_path / "mask.nii.gz", {1: 1}), tmp_path / "ref.png")
    pair = Pair("a", (tmp_path / "ref.png",), (tmp_path / "ref.png",))
    found, wanted = read_pair(pair, print, pixel_size=0.5)
    assert found.grid.unit == wanted.grid.unit == "mm"
    assert wanted.grid.spacing == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("voxel", "said"), [(np.nan, "not whole numbers|not finite|NaN"), (1.5, "not whole numbers")]
)
def test_scores_and_nan_are_no_labels(tmp_path: Path, save: Save, voxel: float, said: str) -> None:
    array: Any = np.zeros((6, 6, 6), np.float32)
    array[1, 1, 1] = voxel
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "pred.nii.gz")
    with pytest.raises(InputError, match=said):
        read(tmp_path / "pred.nii.gz", save(tmp_path / "ref.nii.gz", {1: 1}))
