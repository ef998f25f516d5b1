"""Which files of a folder are images, and what is said where there are none."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_frames import item, write_enhanced

from medseg.config import SeriesRule
from medseg.errors import InputError
from medseg.io import Policy, digests, inspect, read
from medseg.io.dicom.index import MOST_DEPTH, _no_images, indexed

STORED = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)
NIFTI = (348).to_bytes(4, "little") + bytes(348)
Write = Callable[..., Path]


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


# ------------------------------------------------------------------ frames
def test_frames_are_headers_of_their_own_numbered_from_one(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", STORED, order=[3, 0, 5, 1, 4, 2])
    headers = indexed(path).headers
    assert [header.name for header in headers] == [f"ct.dcm, frame {number}" for number in range(1, 7)]
    assert [header.frame for header in headers] == list(range(6))
    heights = [header.position[2] for header in headers if header.position is not None]
    assert heights == pytest.approx([40 + 2.5 * k for k in (3, 0, 5, 1, 4, 2)])
    assert [header.rescale for header in headers] == [(1, -1024 - k) for k in (3, 0, 5, 1, 4, 2)]
    assert {header.text("SeriesInstanceUID") for header in headers} == {"1.2.3.1"}
    assert all("frames" not in header.values for header in headers)


def test_a_file_of_one_image_has_no_frames(tmp_path: Path, write_series: Write) -> None:
    headers = indexed(write_series(tmp_path / "ct", STORED)).headers
    assert [(header.name, header.frame) for header in headers] == [(f"IM{k:04d}.dcm", None) for k in range(6)]


def test_frames_in_two_directions_are_two_volumes(tmp_path: Path) -> None:
    def turn(dataset: Any) -> None:
        for frame in dataset.PerFrameFunctionalGroupsSequence[3:]:
            frame.PlaneOrientationSequence = [item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]
            place = frame.PlanePositionSequence[0]
            x, y, z = place.ImagePositionPatient
            place.ImagePositionPatient = [x, y + z, 40]
        del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for frame in dataset.PerFrameFunctionalGroupsSequence[:3]:
            frame.PlaneOrientationSequence = [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]

    path = write_enhanced(tmp_path / "ct.dcm", STORED, edit=turn)
    assert [(c.shape, c.orientation, c.files) for c in inspect(path)] == [
        ((12, 10, 3), "axial", 1),
        ((12, 10, 3), "coronal", 1),
    ]
    assert "one series mixes 3 + 3 images of different orientation, as ct.dcm, frame 4" in refusal(path)


def test_stacks_of_one_file_are_volumes_of_their_own_though_they_adjoin(tmp_path: Path) -> None:
    def two(dataset: Any) -> None:
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            frame.FrameContentSequence[0].StackID = "1" if k < 4 else "2"

    path = write_enhanced(tmp_path / "ct.dcm", STORED, edit=two)
    assert [(c.shape, c.verdict) for c in inspect(path)] == [((12, 10, 4), "ok"), ((12, 10, 2), "ok")]
    assert "one series mixes 4 + 2 images of different stack, as ct.dcm, frame 5" in refusal(path)
    volume = read(path, policy=Policy(series=SeriesRule(min_slices=4)))
    np.testing.assert_array_equal(volume.array[0], STORED[:, :, :4] - 1024 - np.arange(4))


def test_a_file_of_many_frames_is_hashed_once(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", STORED)
    assert len(digests(path)) == 1
    assert [(c.files, c.shape) for c in inspect(path)] == [(1, (12, 10, 6))]


# ------------------------------------------------------------------ without a preamble
def bare(write_series: Write, folder: Path, syntax: str, *, meta: bool) -> Path:
    """A series whose files start with the first element of their file meta information or data set."""
    write_series(folder, STORED, syntax=syntax)
    for file in folder.iterdir():
        content = file.read_bytes()
        start = 132 if meta else 144 + int.from_bytes(content[140:144], "little")
        file.write_bytes(content[start:])
    return folder


@pytest.mark.parametrize(
    ("syntax", "meta"),
    [
        ("1.2.840.10008.1.2", True),
        ("1.2.840.10008.1.2", False),
        ("1.2.840.10008.1.2.1", True),
        ("1.2.840.10008.1.2.1", False),
        ("1.2.840.10008.1.2.2", True),
        ("1.2.840.10008.1.2.2", False),
    ],
)
@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_files_without_a_preamble_are_known_by_their_elements(
    tmp_path: Path, write_series: Write, syntax: str, meta: bool, suffix: str
) -> None:
    folder = bare(write_series, tmp_path / "ct", syntax, meta=meta)
    for file in sorted(folder.iterdir()):
        file.rename(file.with_suffix(suffix))
    volume = read(folder)
    np.testing.assert_array_equal(volume.array[0], STORED - 1024)
    assert volume.source is not None
    assert "files without the DICOM preamble" in volume.source.policies
    one = next(folder.iterdir())
    assert [c.verdict for c in inspect(one)] == ["not a volume"]  # DICOM, and a single slice of a series


# ------------------------------------------------------------------ folders of something else
def test_a_folder_of_other_images_says_what_was_seen(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii", "c.nii"):
        (tmp_path / name).write_bytes(NIFTI)
    assert refusal(tmp_path) == (
        f"{tmp_path.name}: no DICOM images among 3 file(s), but 3 NIfTI files: give one of them"
    )
    (tmp_path / "notes.txt").write_text("hello\n", encoding="ascii")
    assert "but 3 NIfTI files, 1 text file: give one of them" in refusal(tmp_path)


def test_a_folder_of_no_images_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n", encoding="ascii")
    (tmp_path / "blob").write_bytes(bytes(range(256)) * 4)
    assert "no DICOM images among 2 file(s) (" in refusal(tmp_path)
    assert "give the folder of an image series" in refusal(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "the folder is empty" in refusal(tmp_path / "empty")


def test_names_are_shown_on_one_line(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    (folder / "IM0003.dcm").write_bytes(b"")
    (folder / "IM0003.dcm").rename(folder / "two\nlines\x1b[31m\udcff.dcm")
    assert r"two\nlines\x1b[31m" in refusal(folder)


def test_nothing_that_would_block_is_opened_in_a_folder(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    os.mkfifo(folder / "pipe.dcm")
    (folder / "zero.dcm").symlink_to("/dev/zero")
    (folder / "gone.dcm").symlink_to("nowhere")
    assert read(folder).grid.shape == (12, 10, 6)


def test_a_file_that_is_there_twice_by_links_counts_once(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    (folder / "again.dcm").symlink_to("IM0003.dcm")
    os.link(folder / "IM0004.dcm", folder / "hard.dcm")
    (folder / "more").symlink_to(folder)
    assert read(folder).grid.shape == (12, 10, 6)


def test_folders_are_searched_as_deep_as_discs_go(tmp_path: Path, write_series: Write) -> None:
    deep = tmp_path.joinpath(*"abcdefgh")
    write_series(deep, STORED)
    assert read(tmp_path).grid.shape == (12, 10, 6)
    (deep.joinpath(*map(str, range(MOST_DEPTH)))).mkdir(parents=True)
    assert f"folders are nested more than {MOST_DEPTH} deep" in refusal(tmp_path)


# ------------------------------------------------------------------ masks, and folders of everything
@pytest.mark.parametrize(
    ("kind", "modality", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "liver.dcm is a segmentation"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", "liver.dcm is a structure set"),
    ],
)
def test_masks_are_sent_to_their_image(
    tmp_path: Path, write_series: Write, kind: str, modality: str, words: str
) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = kind
        dataset.Modality = modality

    file = write_series(tmp_path / "masks", STORED[:, :, :1], edit=edit) / "IM0000.dcm"
    file = file.rename(file.with_name("liver.dcm"))
    expected = f"{words}: medseg convert liver.dcm --onto IMAGE puts it onto its image"
    assert expected in refusal(file)
    assert expected in refusal(file.parent)


def test_a_folder_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, write_series: Write) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every folder")
    folder = write_series(tmp_path / "ct", STORED)
    (folder / "closed").mkdir(mode=0)
    assert refusal(folder) == (
        f"{folder / 'closed'}: the folder cannot be read (Permission denied); make it readable, or give the "
        "folder of one study"
    )


def test_the_root_of_all_folders_has_a_name_in_messages() -> None:
    message = str(_no_images(Path("/"), [], []))
    assert message == "/: the folder is empty; give the folder of an image series"
