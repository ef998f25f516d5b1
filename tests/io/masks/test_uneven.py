"""Segmentations on the slices of unevenly spaced series, read onto the even grid of the image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_edits import at, heights, place, source_of
from dicom_series import write_dicom_series
from numpy.typing import NDArray
from segmentations import source_images, write_seg

from medseg.errors import GeometryError
from medseg.io import Policy, read
from medseg.io.masks import read_segmentation
from medseg.volume import Volume

SHAPE = (12, 10, 8)
LABELS = np.random.default_rng(4).integers(1, 4, SHAPE).astype(np.uint8)
UNEVEN = (0, 2.5, 5.0, 7.5, 12.5, 15.0, 18.3, 20.8)  # mm: one is missing, another one late
NEAREST = "the image's slices are not evenly spaced: each voxel takes the labels of the nearest slice"
BOTH = pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])


def on_series(
    folder: Path,
    labels: NDArray[np.uint8] = LABELS,
    *,
    kind: str = "BINARY",
    places: Any = None,
    tilt: str = "refuse",
) -> tuple[Volume, Path]:
    """An uneven series as read onto an even grid, and a segmentation on its slices."""
    edit = at(heights(UNEVEN) if places is None else places)
    series = write_dicom_series(folder / "ct", np.zeros(SHAPE, np.int16), edit=edit)
    seg = write_seg(folder / "seg.dcm", source_images(series), np.ascontiguousarray(labels.T), kind=kind)
    return read(series, policy=Policy(gaps="resample", tilt=tilt)), seg  # type: ignore[arg-type]  # a word


@BOTH
def test_every_slice_comes_back_and_between_them_the_nearest_counts(tmp_path: Path, kind: str) -> None:
    image, seg = on_series(tmp_path, kind=kind)
    notes: list[str] = []
    found = read_segmentation(seg, onto=image, tell=notes.append)
    assert notes == [NEAREST]
    assert found.grid == image.grid
    assert np.array_equal(source_of(image).on_slices(found)[0], LABELS)
    # 20.8 mm are 8 steps of 2.6 mm; the one at 10.4 mm is in the gap, 2.1 mm from the next slice
    at_heights = [0, 1, 2, 3, None, 4, 5, 6, 7]
    assert image.grid.shape[2] == len(at_heights)
    for n, k in enumerate(at_heights):
        assert np.array_equal(found.array[0, :, :, n], 0 * LABELS[:, :, 0] if k is None else LABELS[:, :, k])
    turned = read_segmentation(seg, onto=image.reorient("SPR"), tell=notes.append)
    assert np.array_equal(turned.onto(image.grid).array, found.array)


def test_frames_without_content_may_be_left_out(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:7, 6] = 1
    image, seg = on_series(tmp_path, labels)
    found = read_segmentation(seg, onto=image)
    assert np.array_equal(source_of(image).on_slices(found)[0], labels)
    assert found.array.any(axis=(0, 1, 2)).tolist() == [False] * 7 + [True, False]


def test_tilted_slices_too(tmp_path: Path) -> None:
    leaning = [place(0, 0.28 * height, height) for height in UNEVEN]
    image, seg = on_series(tmp_path, places=leaning, tilt="resample")
    found = read_segmentation(seg, onto=image)
    assert np.array_equal(source_of(image).on_slices(found)[0], LABELS)


def moved(seg: Path, by: float, *, frames: int) -> None:
    import pydicom

    dataset = pydicom.dcmread(seg)
    for frame in dataset.PerFrameFunctionalGroupsSequence[:frames]:
        position = frame.PlanePositionSequence[0]
        x, y, z = position.ImagePositionPatient
        position.ImagePositionPatient = [x, y, z + by]
    dataset.save_as(seg)


def test_some_frames_on_no_slice_are_refused(tmp_path: Path) -> None:
    image, seg = on_series(tmp_path, kind="LABELMAP")
    moved(seg, 1.0, frames=2)
    with pytest.raises(GeometryError, match="2 of its 8 frames lie on no slice of the image's series"):
        read_segmentation(seg, onto=image)


def test_all_frames_beside_the_slices_are_refused(tmp_path: Path) -> None:
    image, seg = on_series(tmp_path, kind="LABELMAP")
    moved(seg, 1.0, frames=8)
    with pytest.raises(GeometryError, match="lie on no slices of the image and not evenly"):
        read_segmentation(seg, onto=image)


def test_slices_closer_than_the_voxels_are_counted(tmp_path: Path) -> None:
    """Of two slices 0.8 mm apart one only is the nearest to a voxel of 2.5 mm."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 1:3, 4], labels[6:9, 6, 2] = 1, 2
    image, seg = on_series(tmp_path, labels, places=heights([0, 2.5, 5, 7.5, 8.3, 10, 12.5, 15]))
    notes: list[str] = []
    found = read_segmentation(seg, onto=image, tell=notes.append)
    assert notes == [
        "6 labelled voxels on slices to which no voxel is nearest are left out",
        "no voxel is left of Liver",
    ]
    assert int(found.mask("Spleen").sum()) == 3
    labels[6:9, 6, 2] = 0
    alone_image, alone = on_series(
        tmp_path / "alone", labels, places=heights([0, 2.5, 5, 7.5, 8.3, 10, 12.5, 15])
    )
    with pytest.raises(GeometryError, match="none of its labelled voxels lies in the image"):
        read_segmentation(alone, onto=alone_image)
