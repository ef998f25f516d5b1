"""A structure set that is not the mask it was made of is found out, whatever is wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_series import write_dicom_series
from numpy.typing import NDArray
from seg_results import finished

from medseg.errors import MedsegError
from medseg.io import read
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.references import Reference
from medseg.io.dicom_results.structure_set import Region, contours_of, structure_set
from medseg.io.dicom_results.structure_set_read_back import require_equal, require_sources
from medseg.io.dicom_results.terms import term_of
from medseg.segmentation import Label
from medseg.volume import Volume

SIZE = (9, 8, 4)
LABELS = (Label(1, "liver"), Label(2, "lesion", layer=1))
PLACES = {1: (0, 1), 2: (1, 2)}
FILE = Reference("1.2.840.10008.5.1.4.1.1.66.4", "1.2.7", "1.2.6")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return read(write_dicom_series(tmp_path_factory.mktemp("series") / "ct", np.zeros(SIZE, np.int16)))


@pytest.fixture
def masks() -> NDArray[np.uint8]:
    """A liver with a hole, and a lesion of another layer within it and at the border."""
    array = np.zeros((2, *SIZE), np.uint8)
    array[0, 1:6, 1:6, 1:3] = 1
    array[0, 3, 3, 2] = 0
    array[1, 2:4, 2, 1], array[1, 0, 0, 3] = 2, 2
    return array


def written(path: Path, image: Volume, masks: NDArray[np.uint8]) -> Path:
    assert image.source is not None
    regions = [
        Region(
            number, label.name, term_of(label), "#0a0b0c",
            list(contours_of(masks[label.layer] == number)), drawn_from=(FILE, number),
        )
        for number, label in enumerate(LABELS, start=1)
    ]  # fmt: skip
    made = structure_set(
        Origin.of(image), image.source.headers, regions, result=finished(image, masks, LABELS)
    )
    made.save_as(path, enforce_file_format=True)
    return path


def require(path: Path, image: Volume, masks: NDArray[np.uint8]) -> None:
    assert image.source is not None
    require_equal(path, masks, PLACES, image.source.headers, Origin.of(image))


def test_what_was_written_is_the_mask(tmp_path: Path, image: Volume, masks: NDArray[np.uint8]) -> None:
    path = written(tmp_path / "made.dcm", image, masks)
    require(path, image, masks)
    require_sources(path, {1: (FILE, 1), 2: (FILE, 2)})


def test_ids_that_no_region_has_are_not_missed(
    tmp_path: Path, image: Volume, masks: NDArray[np.uint8]
) -> None:
    path = written(tmp_path / "made.dcm", image, masks)
    masks[1, 8, 7, 0] = 9
    require(path, image, masks)


@pytest.mark.parametrize("where", [(0, 3, 3, 2), (0, 1, 1, 1), (1, 0, 0, 3), (1, 8, 7, 0)])
def test_a_single_voxel_that_differs_is_found(
    tmp_path: Path, image: Volume, masks: NDArray[np.uint8], where: tuple[int, ...]
) -> None:
    path = written(tmp_path / "made.dcm", image, masks)
    masks[where] = 0 if masks[where] else where[0] + 1
    with pytest.raises(MedsegError, match=rf"made\.dcm: .*\(slice {where[3]}: 1 voxels differ\)"):
        require(path, image, masks)


def moved(contour: Any) -> None:
    contour.ContourData = [float(v) + 0.7 * (n % 3 == 0) for n, v in enumerate(contour.ContourData)]


def lifted(contour: Any) -> None:
    contour.ContourData = [float(v) + 0.1 * (n % 3 == 2) for n, v in enumerate(contour.ContourData)]


def cut_short(contour: Any) -> None:
    contour.ContourData = contour.ContourData[:-3]


def of_another_series(contour: Any) -> None:
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4.5"


DAMAGE: dict[str, tuple[Callable[[Any], None], str]] = {
    "moved by a voxel": (moved, "voxels differ"),
    "lifted off its slice": (lifted, "beside its image"),
    "cut short": (cut_short, "incomplete"),
    "of another series": (of_another_series, "another series"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_contour_that_is_not_the_masks_is_found(
    tmp_path: Path, image: Volume, masks: NDArray[np.uint8], damage: Callable[[Any], None], words: str
) -> None:
    path = written(tmp_path / "made.dcm", image, masks)
    stored = pydicom.dcmread(path)
    damage(stored.ROIContourSequence[1].ContourSequence[0])
    stored.save_as(path)
    with pytest.raises(MedsegError, match=words):
        require(path, image, masks)


def test_a_hole_that_is_lost_is_found(tmp_path: Path, image: Volume, masks: NDArray[np.uint8]) -> None:
    path = written(tmp_path / "made.dcm", image, masks)
    stored = pydicom.dcmread(path)
    contours = stored.ROIContourSequence[0].ContourSequence
    contours.remove(min(contours, key=lambda contour: np.ptp(contour.ContourData[::3])))
    stored.save_as(path)
    with pytest.raises(MedsegError, match=r"slice 2: 1 voxels differ"):
        require(path, image, masks)


@pytest.mark.parametrize("meant", [{1: (FILE, 2), 2: (FILE, 1)}, {1: (FILE, 1), 2: None}, {1: (FILE, 1)}])
def test_a_region_of_another_segment_is_found(
    tmp_path: Path, image: Volume, masks: NDArray[np.uint8], meant: dict[int, Any]
) -> None:
    path = written(tmp_path / "made.dcm", image, masks)
    with pytest.raises(MedsegError, match="names another segment"):
        require_sources(path, meant)
