"""A mask on an image that a policy read: labels stay on the slices they were drawn on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import write_dicom_series
from numpy.typing import NDArray
from segmentations import source_images, write_seg

from medseg.errors import GeometryError
from medseg.io import Policy, read
from medseg.io.masks import read_segmentation

SHAPE = (12, 10, 8)
KEPT = [0, 1, 2, 4, 6, 7]
LABELS = np.random.default_rng(4).integers(1, 4, SHAPE).astype(np.uint8)


@pytest.fixture
def gapped(tmp_path: Path) -> tuple[Path, Path]:
    """A series that lacks slices 3 and 5, and a segmentation of the others."""
    folder = write_dicom_series(tmp_path / "ct", np.zeros(SHAPE, np.int16))
    images = source_images(folder)
    pixels = np.ascontiguousarray(LABELS.T)[KEPT]
    seg = write_seg(tmp_path / "seg.dcm", [images[k] for k in KEPT], pixels)
    without(images, [3, 5])
    return folder, seg


def series_and_seg(folder: Path, labels: NDArray[np.uint8], kind: str) -> tuple[Path, Path, list[Any]]:
    series = write_dicom_series(folder / "ct", np.zeros(SHAPE, np.int16))
    images = source_images(series)
    return series, write_seg(folder / "seg.dcm", images, np.ascontiguousarray(labels.T), kind=kind), images


def without(images: list[Any], gone: list[int]) -> list[int]:
    """Delete the files of some slices; returns the others."""
    for k in gone:
        Path(images[k].filename).unlink()
    return [k for k in range(len(images)) if k not in gone]


def test_slices_read_as_evenly_spaced_keep_their_labels(gapped: tuple[Path, Path]) -> None:
    folder, seg = gapped
    notes: list[str] = []
    image = read(folder, policy=Policy(gaps="allow"))
    found = read_segmentation(seg, onto=image, tell=notes.append)
    assert np.array_equal(found.array[0], LABELS[:, :, KEPT])
    assert notes == [
        "the image's slices were read as evenly spaced: labels follow the slices they were drawn on"
    ]
    turned = read_segmentation(seg, onto=image.reorient("SPR"), tell=notes.append)
    assert np.array_equal(turned.onto(image.grid).array, found.array)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("gone", [[3], [3, 5], [3, 4, 5]])
def test_labels_on_slices_that_the_image_lacks_are_counted(
    tmp_path: Path, gone: list[int], kind: str
) -> None:
    folder, seg, images = series_and_seg(tmp_path, LABELS, kind)
    kept = without(images, gone)
    notes: list[str] = []
    found = read_segmentation(seg, onto=read(folder, policy=Policy(gaps="allow")), tell=notes.append)
    assert np.array_equal(found.array[0], LABELS[:, :, kept])
    assert notes == [
        "the image's slices were read as evenly spaced: labels follow the slices they were drawn on",
        f"{120 * len(gone)} labelled voxels on slices that the image lacks are left out",
    ]


def test_a_label_on_such_a_slice_only_is_named_and_nothing_else_is_refused(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 2:5, 3] = 2
    labels[0, 0, 1] = 1
    folder, seg, images = series_and_seg(tmp_path, labels, "BINARY")
    _, alone, _ = series_and_seg(tmp_path / "alone", np.minimum(labels // 2, 1), "BINARY")
    without(images, [3])
    image = read(folder, policy=Policy(gaps="allow"))
    notes: list[str] = []
    found = read_segmentation(seg, onto=image, tell=notes.append)
    assert found.mask("Liver").sum() == 1
    assert notes[1:] == [
        "9 labelled voxels on slices that the image lacks are left out",
        "no voxel is left of Spleen",
    ]
    with pytest.raises(GeometryError, match="on slices that the image lacks"):
        read_segmentation(alone, onto=image)


def test_slices_on_an_even_grid_keep_their_labels_where_they_were(gapped: tuple[Path, Path]) -> None:
    folder, seg = gapped
    notes: list[str] = []
    found = read_segmentation(seg, onto=read(folder, policy=Policy(gaps="resample")), tell=notes.append)
    assert notes == []
    assert np.array_equal(found.array[0][:, :, KEPT], LABELS[:, :, KEPT])
    assert not found.array[0][:, :, [3, 5]].any()


def test_tilted_slices_come_back_to_their_own_voxels(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), step=(0, 0.5, 2.5))
    seg = write_seg(tmp_path / "seg.dcm", source_images(folder), np.ascontiguousarray(LABELS.T))
    image = read(folder, policy=Policy(tilt="resample"))
    notes: list[str] = []
    found = read_segmentation(seg, onto=image, tell=notes.append)
    assert "nearest labels are taken" in notes[0]
    assert image.source is not None
    assert np.array_equal(image.source.put_back(found).array[0], LABELS)
