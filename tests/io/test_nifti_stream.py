"""The bytes behind a NIfTI image: gzip that is damaged in every way, and the two files of a pair."""

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nifti_files import AFFINE, NUMBERS, Edit, both, field, header_for, nibabel, store, store_pair

from medseg.errors import GeometryError, InputError
from medseg.io import digests, inspect, read
from medseg.io.nifti import read_label_names, write_volume
from medseg.io.nifti_labels import extensions
from medseg.io.nifti_stream import nifti_files
from medseg.segmentation import Label, LabelTable
from medseg.volume import Source

VALUES = np.random.default_rng(3).integers(0, 99, (30, 30, 30)).astype("i2")

# ---- gzip


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: content[:20], "truncated"),
        (lambda content: content[:-9], "truncated"),
        (lambda content: content[:-8], "truncated"),
        (lambda content: content[:-3], "truncated"),
        (lambda content: content[:-8] + b"\0" * 8, "CRC"),
        (lambda content: content[:-4] + b"\1\0\0\0", "corrupt gzip.*[Ll]ength"),
        (lambda content: content + b"this is no gzip member", r"wrong size: other data \(22 B\) behind"),
        (lambda content: content + b"a", r"wrong size: other data \(1 B\) behind"),
        (lambda content: content + b"\x1f", r"wrong size: other data \(1 B\) behind"),
        (lambda content: content + bytes(9) + b"abcdefgh", r"wrong size: other data \(8 B\) behind"),
        (lambda content: content + content + b"ab", "wrong size"),
        (lambda content: content + bytes(3 << 20) + b"a" * 5000, r"wrong size: other data \(5000 B\) behind"),
        (lambda content: content + content[:300], "truncated"),
        (lambda content: content + content, "wrong size: it holds more than the 54352 bytes that its header"),
        (lambda content: content[:60] + bytes([content[60] ^ 16]) + content[61:], "corrupt gzip"),
        (lambda content: content[:2] + b"\7" + content[3:], "corrupt gzip"),
        (gzip.compress, "compressed twice"),
    ],
    ids=[
        "cut", "cut in voxels", "cut before CRC", "no CRC", "cut in length", "CRC", "length",
        "garbage behind", "a byte behind", "half a magic behind", "garbage behind zeros",
        "a second image and garbage behind", "much behind", "cut member behind", "a second image behind",
        "bit flipped", "unknown method", "gzip of gzip",
    ],
)  # fmt: skip
def test_a_damaged_gzip_stream_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = store(tmp_path / "in.nii.gz", VALUES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_gzip_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = store(tmp_path / "in.nii.gz", NUMBERS.astype("i2")).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "in.nii.gz").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read(tmp_path / "in.nii.gz")


def test_zeros_behind_the_stream_are_padding(tmp_path: Path) -> None:
    path = store(tmp_path / "in.nii.gz", NUMBERS.astype("i2"))
    path.write_bytes(path.read_bytes() + bytes(512))
    assert np.array_equal(read(path).array[0], NUMBERS)


def test_two_small_images_in_one_gzip_file_are_refused(tmp_path: Path) -> None:
    one = store(tmp_path / "in.nii.gz", NUMBERS.astype("i2")).read_bytes()
    (tmp_path / "in.nii.gz").write_bytes(one + one)
    with pytest.raises(InputError, match=r"holds more than the .* bytes that its header claims"):
        read(tmp_path / "in.nii.gz")


def test_gzip_of_several_members_is_legal(tmp_path: Path) -> None:
    plain = store(tmp_path / "in.nii", NUMBERS.astype("i2")).read_bytes()
    path = tmp_path / "in.nii.gz"
    path.write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    assert np.array_equal(read(path).array[0], NUMBERS)


def test_more_than_claimed_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "in.nii.gz"
    path.write_bytes(gzip.compress(store(tmp_path / "in.nii", VALUES).read_bytes() + bytes(50_000_000)))
    with pytest.raises(InputError, match="wrong size"):
        read(path)


def test_what_is_written_is_one_plain_member(tmp_path: Path) -> None:
    """No name, no time; and the standard library reads it."""
    write_volume(read(store(tmp_path / "in.nii", VALUES)), tmp_path / "out.nii.gz")
    content = (tmp_path / "out.nii.gz").read_bytes()
    assert content[:4] == b"\x1f\x8b\x08\0"
    assert content[4:8] == bytes(4)
    assert gzip.decompress(content)[352:] == VALUES.tobytes(order="F")


def test_a_full_disk_is_told_while_writing(tmp_path: Path) -> None:
    """The threads that compress end, and what they ran into is raised."""
    (tmp_path / "out.nii.gz").symlink_to("/dev/full")
    volume = read(store(tmp_path / "in.nii", VALUES))
    with pytest.raises(OSError, match="No space left"):
        write_volume(volume, tmp_path / "out.nii.gz")


# ---- pairs


@pytest.mark.parametrize("suffix", ["hdr", "HDR", "hdr.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pair_is_read_from_either_file(tmp_path: Path, order: str, kind: type, suffix: str) -> None:
    header = header_for(VALUES, AFFINE, order, kind)
    first = store_pair(tmp_path / f"x.{suffix}", VALUES, header=header)
    second = next(p for p in tmp_path.iterdir() if p != first)
    expected = tuple(hashlib.sha256(p.read_bytes()).hexdigest() for p in (first, second))
    for path in (first, second):
        volume = read(path)
        assert np.array_equal(volume.array[0], VALUES)
        assert np.array_equal(volume.grid.affine, nibabel.load(first).affine)
        assert isinstance(volume.source, Source)
        assert volume.source.files == (first, second)
        assert volume.source.sha256 == expected == digests(path)
        assert [(c.verdict, c.files) for c in inspect(path)] == [("ok", 2)]


def test_a_pair_of_nibabels_is_read_as_nibabel_does(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(VALUES, AFFINE), tmp_path / "x.img")
    volume, theirs = read(tmp_path / "x.hdr"), nibabel.load(tmp_path / "x.img")
    assert np.array_equal(volume.array[0], np.asarray(theirs.dataobj))
    assert np.array_equal(volume.grid.affine, theirs.affine)


def test_halves_may_differ_in_case(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr", VALUES, image="IMG")
    assert np.array_equal(read(path).array[0], VALUES)
    assert nifti_files(tmp_path / "x.IMG") == (path, tmp_path / "x.IMG")


def test_voxels_may_begin_anywhere_in_the_image(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr", VALUES, field("vox_offset", 48))
    image = tmp_path / "x.img"
    image.write_bytes(bytes(48) + image.read_bytes())
    assert np.array_equal(read(path).array[0], VALUES)


@pytest.mark.parametrize(("gone", "left"), [("x.img", "x.hdr"), ("x.hdr", "x.img")])
def test_a_missing_half_is_named(tmp_path: Path, gone: str, left: str) -> None:
    store_pair(tmp_path / "x.hdr", VALUES)
    (tmp_path / gone).rename(tmp_path / f"y{gone}")
    with pytest.raises(InputError, match=rf"half of a \.hdr/\.img pair: {gone} is missing beside it"):
        read(tmp_path / left)


def test_two_candidates_for_the_other_half_are_refused(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr", VALUES)
    (tmp_path / "x.IMG").write_bytes(b"other")
    with pytest.raises(InputError, match=r"with x\.IMG or x\.img\?"):
        read(path)


PAIR_DAMAGE: dict[str, tuple[Edit, type[InputError], str]] = {
    "Analyze 7.5": (field("magic", b""), GeometryError, "no orientation: an Analyze 7.5 header"),
    "single": (field("magic", b"n+1"), InputError, "single file.*rename it to .nii"),
    "too long": (field("dim", 40, 3), InputError, "truncated: the header claims 72000 bytes, 54000"),
    "too short": (field("dim", 1, 3), InputError, "wrong size"),
    "offset negative": (field("vox_offset", -1), InputError, "whole number from 0"),
    "no orientation": (
        both(field("sform_code", 0), field("qform_code", 0)),
        GeometryError,
        "no orientation",
    ),
}


@pytest.mark.parametrize("damage", PAIR_DAMAGE)
def test_a_damaged_pair_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    edit, error, reason = PAIR_DAMAGE[damage]
    path = store_pair(tmp_path / "x.hdr", VALUES, edit)
    with pytest.raises(error, match=reason) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_the_image_of_a_pair_must_be_a_regular_file(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr", VALUES)
    (tmp_path / "x.img").unlink()
    os.mkfifo(tmp_path / "x.img")
    with pytest.raises(InputError, match="not a regular file but a FIFO"):
        read(path)


def test_a_header_as_long_as_an_image_is_none(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr.gz", VALUES)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1 << 27)))
    with pytest.raises(InputError, match="more than 64 MiB behind a header"):
        read(path)


def test_a_header_of_another_kind_is_no_nifti(tmp_path: Path) -> None:
    """ENVI calls its text headers .hdr too."""
    path = store_pair(tmp_path / "x.hdr", VALUES)
    path.write_bytes(b"ENVI\nsamples = 30\nlines = 30\n" * 20)
    with pytest.raises(InputError, match="not a NIfTI file"):
        read(path)


def test_label_names_lie_in_the_header_of_a_pair(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr", VALUES.astype("u1"))
    assert read_label_names(path) == {}
    table = LabelTable((Label(1, "liver"),))
    path.write_bytes(path.read_bytes()[:348] + b"\1\0\0\0" + extensions(table))
    assert read_label_names(tmp_path / "x.img") == {1: "liver"}
    assert np.array_equal(read(path).array[0], VALUES)


def test_a_pair_is_written_as_one_file_with_its_orientation(tmp_path: Path) -> None:
    path = store_pair(tmp_path / "x.hdr", VALUES)
    write_volume(read(path), tmp_path / "out.nii.gz")
    ours, theirs = nibabel.load(tmp_path / "out.nii.gz"), nibabel.load(path)
    assert np.array_equal(ours.affine, theirs.affine)
    assert np.array_equal(ours.header["pixdim"], theirs.header["pixdim"])
    assert ours.header["magic"].item() == b"n+1"
