from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest

Medseg = Callable[..., Any]


def test_keeps_values_type_and_affine_to_the_bit(medseg: Medseg, ball: Path, tmp_path: Path) -> None:
    done = medseg("convert", ball, "-o", tmp_path / "image.nii.gz")
    assert done.code == 0
    before, after = nib.load(ball), nib.load(tmp_path / "image.nii.gz")
    assert np.array_equal(before.affine, after.affine)
    assert after.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(before.dataobj), np.asarray(after.dataobj))
    assert "32 x 30 x 24" in done.out


def test_an_existing_file_is_refused_unless_told(medseg: Medseg, ball: Path, tmp_path: Path) -> None:
    target = tmp_path / "image.nii"
    target.write_text("precious")
    assert medseg("convert", ball, "-o", target).code == 64
    assert target.read_text() == "precious"
    assert medseg("convert", ball, "-o", target, "--overwrite", "--quiet") == (0, "", "")
    assert nib.load(target).shape == (32, 30, 24)


@pytest.mark.parametrize(
    ("image", "out", "code"),
    [
        ("{ball}", "{tmp}/image.png", 64),
        ("{tmp}/absent", "{tmp}/a.nii.gz", 2),
        ("{tmp}", "{tmp}/a.nii.gz", 2),
    ],
)
def test_refusals_leave_nothing(medseg: Medseg, tmp_path: Path, image: str, out: str, code: int) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM here")
    done = medseg("convert", image.format(tmp=tmp_path, ball=tmp_path / "x"), "-o", out.format(tmp=tmp_path))
    assert done.code == code
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_picture_stays_in_pixels(medseg: Medseg, tmp_path: Path) -> None:
    """NIfTI has no pixels: read back as millimetres, an area would become a volume in mL."""
    from PIL import Image

    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(tmp_path / "picture.png")
    assert medseg("convert", tmp_path / "picture.png", "-o", tmp_path / "picture.nii.gz").code == 0
    assert "px" in medseg("info", tmp_path / "picture.nii.gz").out
    scaled = medseg(
        "convert", tmp_path / "picture.png", "-o", tmp_path / "scaled.nii.gz", "--pixel-size", "0.5"
    )
    assert scaled.code == 0
    assert "0.5 x 0.5 x 0.5 mm" in medseg("info", tmp_path / "scaled.nii.gz").out


def test_ids_become_a_mask_that_says_whose_objects_they_are(
    medseg: Medseg, ball: Path, tmp_path: Path
) -> None:
    image = nib.load(ball)
    values = (np.asarray(image.dataobj) > 0) * np.uint16(300)
    values[: values.shape[0] // 2] //= 100
    nib.save(nib.Nifti1Image(values, image.affine), tmp_path / "ids.nii.gz")
    done = medseg(
        "convert", tmp_path / "ids.nii.gz", "--onto", ball, "--objects", "half", "-o", tmp_path / "a.nii.gz"
    )
    assert (done.code, done.out) == (0, f"{tmp_path / 'a.nii.gz'}: half (2 objects)\n")
    again = medseg("convert", tmp_path / "a.nii.gz", "--onto", ball, "-o", tmp_path / "b.nii.gz")
    assert "half (2 objects)" in again.out
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "a.nii.gz").read_bytes()
    assert np.array_equal(np.asarray(nib.load(tmp_path / "b.nii.gz").dataobj), values)
    refused = medseg("convert", ball, "--objects", "half", "-o", tmp_path / "c.nii.gz")
    assert refused.code == 64
    assert "--onto IMAGE" in refused.err
