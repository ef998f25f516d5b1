"""What reading takes, told from the header, against what it takes."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: TID253 - its own usual name

from medseg.io import inspect, read
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes

SHAPE = (256, 256, 256)
OFF = 16 << 20


def nifti(path: Path, kind: type[np.generic], *, slope: float = 1.0) -> Path:
    array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(kind)
    made = nib.Nifti1Image(array, np.diag([1.0, 1.0, 1.0, 1.0]))
    made.header.set_slope_inter(slope, 0.0)
    nib.save(made, path)
    return path


def nrrd(path: Path, kind: type[np.generic]) -> Path:
    array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(kind)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda folder: nifti(folder / "a.nii", np.int16), id="nifti int16"),
        pytest.param(lambda folder: nifti(folder / "a.nii", np.int16, slope=0.5), id="nifti scaled"),
        pytest.param(lambda folder: nifti(folder / "a.nii", np.float32), id="nifti float32"),
        pytest.param(lambda folder: nrrd(folder / "a.nrrd", np.int16), id="nrrd int16"),
        pytest.param(lambda folder: nrrd(folder / "a.nrrd", np.float32), id="nrrd float32"),
    ],
)
def test_the_header_says_what_reading_takes(made: Callable[[Path], Path], tmp_path: Path) -> None:
    path = made(tmp_path)
    (told,) = inspect(path)
    assert "reading_bytes" not in told.as_json()
    release_freed_memory()
    reset_peak()
    before = resident_bytes()
    volume = read(path)
    taken = peak_bytes() - before
    assert volume.array.nbytes <= told.reading_bytes
    assert told.reading_bytes - OFF - volume.array.nbytes // 4 <= taken <= told.reading_bytes + OFF
