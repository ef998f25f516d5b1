"""`medseg convert MASK --onto IMAGE`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
from dicom_series import write_dicom_series
from segmentations import source_images, write_seg

from medseg.io.nifti import read_label_names

Medseg = Callable[..., Any]
SHAPE = (12, 10, 6)


def series_and_seg(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    folder = write_dicom_series(tmp_path / "ct", np.zeros(SHAPE, np.int16))
    masks = np.zeros((*SHAPE, 3), np.uint8)
    masks[1:7, 1:7, 1:4, 0] = 1
    masks[4:9, 4:9, 2:5, 1] = 1
    masks[10:, 8:, 5:, 2] = 1
    pixels = np.ascontiguousarray(masks.transpose(2, 1, 0, 3))
    return folder, write_seg(tmp_path / "seg.dcm", source_images(folder), pixels), masks


def test_labels_are_written_on_the_image_with_their_names(medseg: Medseg, tmp_path: Path) -> None:
    folder, seg, masks = series_and_seg(tmp_path)
    assert medseg("convert", folder, "-o", tmp_path / "image.nii.gz").code == 0
    done = medseg("convert", seg, "--onto", folder, "-o", tmp_path / "labels.nii.gz")
    assert done.code == 0
    first, second = tmp_path / "labels.nii.gz", tmp_path / "labels-spleen.nii.gz"
    assert done.out.splitlines() == [f"{first}: Liver, Kidney", f"{second}: Spleen"]
    assert read_label_names(first) == {1: "Liver", 3: "Kidney"}
    assert np.array_equal(nib.load(first).affine, nib.load(tmp_path / "image.nii.gz").affine)
    assert np.array_equal(np.asarray(nib.load(first).dataobj), masks[..., 0] + 3 * masks[..., 2])
    assert np.array_equal(np.asarray(nib.load(second).dataobj), 2 * masks[..., 1])


def test_notes_are_printed(medseg: Medseg, tmp_path: Path) -> None:
    folder, seg, _ = series_and_seg(tmp_path)
    medseg("convert", folder, "-o", tmp_path / "image.nii.gz")
    done = medseg("convert", seg, "--onto", tmp_path / "image.nii.gz", "-o", tmp_path / "labels.nii")
    assert done.code == 0
    assert done.out.endswith("note: the image names no frame of reference: placed by coordinates alone\n")


def test_a_mask_of_another_image_is_refused_and_leaves_nothing(medseg: Medseg, tmp_path: Path) -> None:
    folder, seg, _ = series_and_seg(tmp_path)
    other = write_dicom_series(tmp_path / "other", np.zeros(SHAPE, np.int16), series="1.2.3.2")
    done = medseg("convert", seg, "--onto", other, "-o", tmp_path / "labels.nii.gz")
    assert done.code == 2
    assert "made for series …1.2.3.1, the image is series …1.2.3.2" in done.err
    assert not list(tmp_path.glob("labels*"))
    assert medseg("convert", seg, "--onto", tmp_path / "none", "-o", tmp_path / "a.nii").code == 2
    assert folder.is_dir()


def test_an_existing_file_of_a_further_label_is_kept(medseg: Medseg, tmp_path: Path) -> None:
    folder, seg, _ = series_and_seg(tmp_path)
    (tmp_path / "labels-spleen.nii.gz").write_text("precious")
    done = medseg("convert", seg, "--onto", folder, "-o", tmp_path / "labels.nii.gz")
    assert done.code == 64
    assert not (tmp_path / "labels.nii.gz").exists()
    assert (tmp_path / "labels-spleen.nii.gz").read_text() == "precious"
