"""The front door: what is no image, cannot be opened or contradicts its name is refused in one line."""

import gzip
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import InputError, UsageError
from medseg.io import digests, inspect, read
from medseg.io.nifti import write_volume
from medseg.io.verdict import Candidate
from medseg.volume import Grid, Volume

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HEADER = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementDataFile = LOCAL\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    grid = Grid((5, 4, 3), np.diag([2, 2, 3, 1.0]))
    path = tmp_path / "image.nii.gz"
    write_volume(Volume(np.arange(60, dtype=np.int16).reshape(1, 5, 4, 3), grid), path)
    return path


def refused(path: Path, reason: str) -> None:
    """`read` and `inspect` both refuse, in one line that starts with the path and gives the reason."""
    for function in (read, inspect):
        with pytest.raises(InputError, match=reason) as caught:
            function(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert message.isprintable()


def test_reads_a_path_or_a_string(image: Path) -> None:
    assert np.array_equal(read(str(image)).array, read(image).array)
    assert read(image).array.shape == (1, 5, 4, 3)


def test_inspect_tells_what_read_would_give(image: Path) -> None:
    (candidate,) = inspect(image)
    assert candidate == Candidate(
        "NIfTI-1",
        shape=(5, 4, 3),
        spacing=(2.0, 2.0, 3.0),
        axis_codes="RAS",
        dtype="int16",
        reading_bytes=120,
    )
    assert candidate.readable


def test_digests_are_those_of_reading(image: Path) -> None:
    study = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    for path in (image, study):
        source = read(path).source
        assert source is not None
        assert digests(path) == source.sha256
    assert len(digests(study)) == 50
    with pytest.raises(InputError, match="does not exist"):
        digests(image.with_name("absent.nii"))


def test_digests_are_in_the_order_of_the_slices_whatever_the_files_are_called(tmp_path: Path) -> None:
    study = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    for number, path in enumerate(sorted(study.glob("*.dcm"), reverse=True)):
        (tmp_path / f"{number:03d}.dcm").write_bytes(path.read_bytes())
    assert digests(tmp_path) == digests(study)
    last = tmp_path / "000.dcm"
    last.write_bytes(last.read_bytes() + b"\0")
    pairs = zip(digests(tmp_path), digests(study), strict=True)
    assert [new == old for new, old in pairs].count(False) == 1


def test_missing_paths_and_loops_of_links(tmp_path: Path, image: Path) -> None:
    refused(tmp_path / "absent.nii", "does not exist")
    (tmp_path / "dangling.nii").symlink_to("gone.nii")
    refused(tmp_path / "dangling.nii", "does not exist")
    (tmp_path / "a.nii").symlink_to("b.nii")
    (tmp_path / "b.nii").symlink_to("a.nii")
    refused(tmp_path / "a.nii", "loop of symbolic links")
    refused(image / "inside.nii", "a part of the path is a file")
    refused(tmp_path / ("x" * 300), "too long")
    with pytest.raises(InputError, match="too long"):
        digests(tmp_path / ("x" * 300))


def test_a_link_to_an_image_is_followed(tmp_path: Path, image: Path) -> None:
    (tmp_path / "link.nii.gz").symlink_to(image)
    assert np.array_equal(read(tmp_path / "link.nii.gz").array, read(image).array)


def test_nothing_is_opened_that_would_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")
    finished = threading.Event()

    def attempt() -> None:
        refused(tmp_path / "pipe.nii.gz", "FIFO")
        finished.set()

    threading.Thread(target=attempt, daemon=True).start()
    assert finished.wait(5)
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    refused(tmp_path / "zero.nii", "a device")


@pytest.mark.parametrize(
    "name", ["in.nii", "in.nii.gz", "in.dcm", "in.nrrd", "in.mha", "in.png", "in.tif", "in"]
)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"this is a text file, not an image\n" * 40, "holds text"),
        (np.random.default_rng(7).bytes(5000), "holds unknown data"),
        (b"PK\x03\x04" + bytes(500), "a zip archive"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "holds JPEG"),
    ],
    ids=["empty", "text", "noise", "zip", "jpeg"],
)
def test_what_is_no_image_is_refused_under_any_name(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, reason)


@pytest.mark.parametrize(
    ("name", "content", "held"),
    [
        ("in.nii", PNG, "PNG"),
        ("in.tif", PNG, "PNG"),
        ("in.png", b"II*\0" + bytes(500), "TIFF"),
        ("in.png", b"MM\0*" + bytes(500), "TIFF"),
        ("in.mha", b"NRRD0005\n", "NRRD"),
        ("in.nrrd", HEADER.encode(), "MetaImage"),
        ("in.nii", bytes(128) + b"DICM" + bytes(500), "DICOM"),
        ("in.dcm", b"\x5c\x01\0\0" + bytes(500), "NIfTI"),
        ("in.dcm", b"\x02\x1c\0\0" + bytes(500), "unknown data"),
        ("in.nii.gz", b"\x5c\x01\0\0" + bytes(500), "NIfTI"),
        ("in.nii", gzip.compress(b"\x5c\x01\0\0" + bytes(500), mtime=0), "gzip"),
        ("in.nrrd", b"\0\0\x02\x1c" + bytes(500), "NIfTI"),
    ],
)
def test_name_and_content_must_agree(tmp_path: Path, name: str, content: bytes, held: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, held)


def test_an_extension_that_means_nothing_is_refused(tmp_path: Path, image: Path) -> None:
    (tmp_path / "scan.xyz").write_bytes(gzip.decompress(image.read_bytes()))
    refused(tmp_path / "scan.xyz", r"its extension is not \.nii")


@pytest.mark.parametrize("name", ["brain.hdr", "brain.IMG"])
def test_half_of_a_pair_is_named_as_that(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x5c\x01\0\0" + bytes(500))
    refused(tmp_path / name, r"half of a \.hdr/\.img pair")


def test_extensions_in_capitals_are_the_same(tmp_path: Path, image: Path) -> None:
    image.rename(tmp_path / "IMAGE.NII.GZ")
    assert read(tmp_path / "IMAGE.NII.GZ").array.shape == (1, 5, 4, 3)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    refused(tmp_path / "study", "the folder is empty")


def test_names_are_shown_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines\x1b[31m.nii"
    path.write_bytes(b"text\n")
    with pytest.raises(InputError, match=r"two\\nlines\\x1b\[31m\.nii: ") as caught:
        read(path)
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="not a possible file name"):
        read("null\0byte.nii")


def test_odd_names_are_no_obstacle(tmp_path: Path, image: Path) -> None:
    for name in ("scan 1 \u00e9\u4e2d 'q'.nii.gz", "a;touch pwned;$(touch pwned).nii.gz", "-o.nii.gz"):
        (tmp_path / name).write_bytes(image.read_bytes())
        assert read(tmp_path / name).array.shape == (1, 5, 4, 3)


def test_a_pixel_size_is_for_pictures_only(image: Path) -> None:
    with pytest.raises(UsageError, match="has its own scale"):
        read(image, pixel_size=0.5)


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """An image that this process may not open; root becomes nobody for the time being."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "in.nii"
        path.write_bytes(b"\x5c\x01\0\0" + bytes(500))
        path.chmod(stat.S_IWUSR)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        yield path
        os.seteuid(before)


def test_permission_denied_is_said(unreadable: Path) -> None:
    refused(unreadable, "permission denied")
