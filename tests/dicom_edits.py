"""Small DICOM series with one thing changed: what the tests of the DICOM reader's modules share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.dicom import dicom_files, read_dicom
from medseg.io.policy import STRICT, Policy
from medseg.volume import Source, Volume

STORED = np.arange(12 * 10 * 8, dtype=np.int16).reshape(12, 10, 8)  # columns, rows, slices
SPACING = (0.7, 0.9, 2.5)
PLACE = np.array([-30.0, -20.0, 40.0])  # LPS mm, as the writer of the series places the first slice
FAILING = Path("dicom_odd", "dicom2nifti", "failing")
RESAMPLE = Policy(gaps="resample")
UPRIGHT = Policy(tilt="resample")
BOTH = Policy(gaps="resample", tilt="resample")
FIRST = Policy(duplicates="first")
Write = Callable[..., Path]
Edit = Callable[[int, Any], None]
Place = NDArray[np.float64]


def every(**changes: Any) -> Edit:
    """Set or (None) delete the same tags in every slice."""

    def edit(_k: int, dataset: Any) -> None:
        for keyword, value in changes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


def only(slice_number: int, **changes: Any) -> Edit:
    """Set or delete tags in one slice."""
    change = every(**changes)
    return lambda k, dataset: change(k, dataset) if k == slice_number else None


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(k: int, dataset: Any) -> None:
        for each in edits:
            each(k, dataset)

    return edit


def other_uid(k: int, dataset: Any) -> None:
    """Another SOPInstanceUID."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.77.{k}"


def brighter(k: int, dataset: Any) -> None:
    """STORED + 1."""
    dataset.PixelData = (STORED[:, :, k].T + np.int16(1)).tobytes()


def place(x: float, y: float, z: float) -> Place:
    """So many mm from the first slice, LPS."""
    here: Place = PLACE + np.array([x, y, z])
    return here


def heights(values: Sequence[float] | NDArray[np.floating[Any]]) -> list[Place]:
    """Places of axial slices at these heights above the first."""
    return [place(0, 0, z) for z in values]


def leaning(degrees: float, count: int, step: float = 2.5) -> list[Place]:
    """Places of an axial stack whose slices move back by the tilt, as a gantry's do."""
    return [place(0, step * k * float(np.tan(np.radians(degrees))), step * k) for k in range(count)]


def at(places: Sequence[Place]) -> Edit:
    """Each slice at its own place, LPS mm."""

    def edit(k: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [f"{number:.9g}" for number in places[k]]

    return edit


def source_of(volume: Volume) -> Source:
    """The source, which every volume that was read has."""
    assert volume.source is not None
    return volume.source


def refusal(folder: Path, policy: Policy = STRICT) -> str:
    """The one line with which reading is refused; so is naming the files."""
    with pytest.raises(InputError):
        dicom_files(folder, policy)
    with pytest.raises(InputError) as caught:
        read_dicom(folder, policy)
    message = str(caught.value)
    assert "\n" not in message
    return message


def with_copy(
    write_series: Write, folder: Path, edit: Edit | None = None, *, slices: Sequence[int] = (3,)
) -> Path:
    """The series, and some of its slices once more in a folder below."""
    write_series(folder, STORED)
    again = write_series(folder / "again", STORED, edit=edit)
    for k in set(range(8)) - set(slices):
        (again / f"IM{k:04d}.dcm").unlink()
    return folder


def write_phases(write_series: Write, folder: Path, edits: Sequence[Edit]) -> Path:
    """One folder per phase in one series; phase n holds STORED + n. Files and numbers run backwards."""
    for n, edit in enumerate(edits):

        def tell(k: int, dataset: Any, n: int = n, edit: Edit = edit) -> None:
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.7.{n}.{k}"
            dataset.InstanceNumber = 1000 - 8 * n - k
            edit(k, dataset)

        write_series(folder / "cba"[n], STORED + np.int16(n), edit=tell)
    return folder
