"""The front door: which reader gets a file, and that one exception type leaves it."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_dicom_series
from segmentations import RLE, source_images, write_seg

from medseg.errors import InputError, ResourceError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.io.nifti import write_labels
from medseg.segmentation import Label, LabelTable
from medseg.volume import Volume

SHAPE = (12, 10, 4)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom_series(tmp_path_factory.mktemp("series") / "ct", np.zeros(SHAPE, np.int16))


@pytest.fixture(scope="module")
def image(series: Path) -> Volume:
    return read(series)


def test_what_is_no_file_of_labels_is_refused_in_one_line(
    tmp_path: Path, series: Path, image: Volume
) -> None:
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "notes.txt").write_text("liver", encoding="ascii")
    (tmp_path / "seg.dcm").write_bytes(b"not DICOM" * 100)
    (tmp_path / "seg.nrrd").write_bytes(b"not NRRD" * 100)
    for path, said in (
        (series, "a folder"),
        (tmp_path / "none.dcm", "does not exist"),
        (tmp_path / "empty.dcm", "empty"),
        (tmp_path / "notes.txt", "not a recognised image format"),
        (tmp_path / "seg.dcm", "seg.dcm"),
        (tmp_path / "seg.nrrd", "seg.nrrd"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            read_segmentation(path, onto=image)
        assert "\n" not in str(caught.value)


def test_decisions_are_warnings_in_the_log_by_default(
    tmp_path: Path, series: Path, image: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_seg(
        tmp_path / "a.dcm", source_images(series), np.ones((4, 10, 12, 1), np.float32), kind="FRACTIONAL"
    )
    read_segmentation(path, onto=image)
    assert "holds probabilities" in caplog.text


def test_no_patient_is_named(
    tmp_path: Path, series: Path, image: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    from dicom_series import CANARIES

    caplog.set_level("DEBUG")
    path = write_seg(tmp_path / "a.dcm", source_images(series), np.ones((4, 10, 12), np.uint8))
    assert any(canary.encode() in path.read_bytes() for canary in CANARIES)
    found = read_segmentation(path, onto=image)
    with pytest.raises(InputError) as caught:
        read_segmentation(path, onto=image.crop((0, 0, 2), (12, 10, 4)))
    for canary in CANARIES:
        assert canary not in caplog.text + repr(found) + repr(found.labels) + str(caught.value)


def test_damaged_bytes_give_one_kind_of_error(tmp_path: Path, series: Path, image: Volume) -> None:
    array = np.random.default_rng(2).integers(0, 3, SHAPE).astype(np.uint8)
    pixels = np.ascontiguousarray(array.T)
    table = LabelTable((Label(1, "a"), Label(2, "b")))
    images = source_images(series)
    sound = [
        write_seg(tmp_path / "binary.dcm", images, pixels),
        write_seg(tmp_path / "map.dcm", images, pixels, kind="LABELMAP", syntax=RLE),
        tmp_path / "map.nii",
    ]
    write_labels(array, image.grid, sound[-1], labels=table, source=None)
    rng = random.Random(7)  # noqa: S311  # seeded, to be the same each time
    outcomes = Counter[str]()
    for path in sound:
        start = path.read_bytes()
        hurt = path.with_name(f"hurt-{path.name}")
        for _ in range(120):
            data = bytearray(start)
            for _ in range(rng.choice((1, 3, 20))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if rng.random() < 0.2:
                del data[rng.randrange(len(data)) :]
            hurt.write_bytes(data)
            try:
                found = read_segmentation(hurt, onto=image, tell=lambda _: None)
            except (InputError, ResourceError) as problem:
                lines = str(problem).splitlines()
                outcomes["refused" if len(lines) == 1 else "several lines"] += 1
            else:
                assert found.grid == image.grid
                outcomes["read"] += 1
    assert set(outcomes) == {"read", "refused"}
    assert min(outcomes.values()) > 20
