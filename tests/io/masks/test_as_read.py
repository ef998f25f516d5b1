"""A mask on an image that a policy read: labels stay on the slices they were drawn on."""

from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_dicom_series
from segmentations import source_images, write_seg

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
    for k in set(range(SHAPE[2])) - set(KEPT):
        Path(images[k].filename).unlink()
    return folder, seg


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
