"""Archives of DICOM: read like a folder, or refused without a trace."""

import gzip
import hashlib
import io
import os
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_archives import GZIPPED, TARS, ZIPS, tar, tar_header

from medseg.errors import InputError, ResourceError, UsageError
from medseg.io import Policy, archive, digests, foretell, inspect, read
from medseg.io.archive import member_names, unpacked

STORED = np.arange(12 * 10 * 5, dtype=np.int16).reshape(12, 10, 5)
Write = Callable[..., Path]
HOOKED: list[bool] = []
WRITTEN: list[list[str]] = []


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where archives are unpacked; nothing may be there afterwards."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    # so that a bomb need not have gigabytes
    monkeypatch.setattr(archive, "LIMITS", replace(archive.LIMITS, small_total_bytes=64 << 20))
    yield folder
    assert list(folder.iterdir()) == []


def _note(event: str, given: tuple[Any, ...]) -> None:
    changes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
    if WRITTEN and (changes or event in ("os.mkdir", "os.link", "os.symlink", "os.rename")):
        WRITTEN[-1].append(str(given[0]))


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Every path that this process writes to or makes."""
    if not HOOKED:
        sys.addaudithook(_note)  # it stays, and has nobody to tell after this test
        HOOKED.append(True)
    WRITTEN.append([])
    yield WRITTEN[-1]
    WRITTEN.pop()


@pytest.fixture
def series(tmp_path: Path, write_series: Write) -> Path:
    return write_series(tmp_path / "ct", STORED)


@pytest.fixture
def image(series: Path) -> bytes:
    """One slice."""
    return (series / "IM0000.dcm").read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < len(str(path)) + 400
    return message.removeprefix(f"{path}: ")


# ------------------------------------------------------------------ what is read
@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("top", [".", "ct"], ids=["flat", "folder"])
def test_an_archive_is_read_like_the_folder(
    tmp_path: Path, series: Path, form: str, top: str, written: list[str]
) -> None:
    made = Path(shutil.make_archive(str(tmp_path / "study"), form, series if top == "." else tmp_path, top))
    plain = read(series)
    written.clear()
    volume = read(made)
    np.testing.assert_array_equal(volume.array, plain.array)
    assert volume.grid == plain.grid
    assert volume.source is not None
    assert plain.source is not None
    assert volume.source.files == (made,)
    assert volume.source.sha256 == (hashlib.sha256(made.read_bytes()).hexdigest(),) == digests(made)
    assert volume.source.headers == plain.source.headers
    assert inspect(made) == inspect(series)
    assert foretell(made, policy=Policy()) == foretell(series, policy=Policy())._replace(files=1)
    assert written
    assert all(str(tmp_path / "scratch") in each for each in written)


@pytest.mark.parametrize("name", ["a.TGZ", "a.tar.gz", "A.Zip", "a.tar"])
def test_names_and_contents_go_together(tmp_path: Path, series: Path, name: str) -> None:
    form = "zip" if name.lower().endswith("zip") else "tar" if name.endswith("tar") else "gztar"
    made = Path(shutil.make_archive(str(tmp_path / "made"), form, series))
    assert read(made.rename(tmp_path / name)).grid.shape == STORED.shape
    (tmp_path / name).rename(tmp_path / "study.dcm")
    assert "extension .dcm contradicts its content" in refusal(tmp_path / "study.dcm")
    (tmp_path / "study.dcm").rename(tmp_path / "study")
    assert "its extension is not ." in refusal(tmp_path / "study")


def test_long_names_pax_headers_and_a_folder_before_its_files_are_usual(tmp_path: Path, series: Path) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as packed:
            packed.add(series, arcname=f"./{'long' * 12}/{'folder' * 12}/\u00e9" if form else "./study")
        assert read(path).grid.shape == STORED.shape


def test_policies_and_phases_hold_for_archives(tmp_path: Path, series: Path) -> None:
    (series / "IM0002.dcm").unlink()
    made = Path(shutil.make_archive(str(tmp_path / "study"), "zip", series))
    with pytest.raises(
        InputError, match=r"^study\.zip: slices IM0001\.dcm and IM0003\.dcm are 5\.00 mm apart"
    ):
        read(made)
    volume = read(made, policy=Policy(gaps="resample"))
    assert volume.grid.shape == STORED.shape
    with pytest.raises(UsageError, match="has its own scale"):
        read(made, pixel_size=0.5)


def test_other_files_beside_the_images_do_no_harm(tmp_path: Path, series: Path) -> None:
    (series / "readme.txt").write_text("notes\n", encoding="ascii")
    (series / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (series / "__MACOSX").mkdir()
    (series / "__MACOSX" / "._IM0000.dcm").write_bytes(b"\0\5\x16\7")
    assert read(Path(shutil.make_archive(str(tmp_path / "x"), "zip", series))).grid.shape == STORED.shape


def test_the_folder_is_private_and_modes_are_not_kept(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("a.dcm")
        info.external_attr, info.create_system = (stat.S_IFREG | 0o6777) << 16, 3
        packed.writestr(info, image)
    with unpacked(path) as contents:
        assert stat.S_IMODE(contents.folder.parent.stat().st_mode) == 0o700
        assert (contents.folder / "a.dcm").stat().st_mode & 0o7111 == 0
        assert contents.folder.name == "x.zip"
        assert list(member_names(path)) == ["a.dcm"]


def test_the_folder_is_gone_after_any_failure(tmp_path: Path, image: bytes, scratch: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.dcm", image)

    def interrupted() -> None:
        with unpacked(path):
            assert len(list(scratch.iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


# ------------------------------------------------------------------ what it holds instead
def test_an_archive_of_other_things_says_what_it_holds(tmp_path: Path) -> None:
    nifti = gzip.compress((348).to_bytes(4, "little") + bytes(344))
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("brain.nii.gz", nifti)
        packed.writestr("brain2.nii.gz", nifti)
        packed.writestr("notes.txt", "hello\n")
    assert refusal(path) == (
        "holds 2 NIfTI files, 1 text file, no DICOM; unpack it and give the image itself"
    )
    path.write_bytes(ZIPS["nothing"](b""))
    assert refusal(path).startswith("holds no files, no DICOM")


def test_member_names_never_fail(tmp_path: Path, image: bytes) -> None:
    for number, make in enumerate([*ZIPS.values(), *TARS.values()]):
        path = tmp_path / f"{number}"
        path.write_bytes(make(image))
        assert all(isinstance(name, str) for name in member_names(path))


# ------------------------------------------------------------------ what is refused
HOSTILE = (
    [(f"{name}.zip", make) for name, make in ZIPS.items()]
    + [(f"{name}.tar", make) for name, make in TARS.items()]
    + [(f"{name}.tar.gz", lambda image, make=make: gzip.compress(make(image))) for name, make in TARS.items()]
    + [(f"{name}.tgz", make) for name, make in GZIPPED.items()]
)


@pytest.mark.parametrize(("name", "make"), HOSTILE, ids=[name for name, _ in HOSTILE])
def test_a_hostile_archive_is_refused_without_a_trace(
    tmp_path: Path, image: bytes, written: list[str], name: str, make: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "study" / name.replace(" ", "-")
    path.parent.mkdir()
    path.write_bytes(make(image))
    before = sorted(tmp_path.rglob("*"))
    written.clear()
    refusal(path)
    assert not [each for each in written if not each.startswith(str(tmp_path / "scratch"))]
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(InputError):
        inspect(path)


SAID = {
    "parent.zip": r"member '\.\./out\.dcm' leads out of the archive's folder",
    "link.zip": "member 'odd' is a link; pack plain files only",
    "encrypted.zip": "is encrypted; pack it without a password",
    "bomb.zip": "claims to become 67108864 bytes out of",
    "overlapping.zip": "overlaps what comes after it",
    "quoted.zip": "overlaps what comes after it",
    "zip64.zip": "claims to become 4611686018427387904 bytes",
    "broken sum.zip": "is a damaged zip archive",
    "escape.zip": r"member 'b\\x1b\[31m\.dcm' is no name for a file",
    "nested.zip": "member 'b' is an archive within the archive",
    "same name.tar": "are one path",
    "hard link.tar": "is a link; pack plain files only",
    "sparse in pax.tar": "is a sparse file",
    "negative size.tar": "claims -512 bytes",
    "size of exabytes.tar": "bytes; it is damaged or hostile",
    "cut at a header.tar": "is cut off; fetch it again",
    "broken header.tar": "is a damaged tar archive",
    "more after its end.tar": "goes on after its end",
    "gzip bomb.tgz": "more than 200 times as many",
    "gzip with a broken sum.tgz": "is a damaged tar archive",
}


@pytest.mark.parametrize("name", SAID)
def test_the_reason_is_said(tmp_path: Path, image: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(dict(HOSTILE)[name](image))
    with pytest.raises(InputError, match=SAID[name]):
        read(path)


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
def test_every_truncation_is_refused(tmp_path: Path, series: Path, form: str) -> None:
    for file in sorted(series.iterdir())[2:]:
        file.unlink()
    path = Path(shutil.make_archive(str(tmp_path / "x"), form, series))
    content = path.read_bytes()
    end = len(content.rstrip(b"\0")) + 512 if form == "tar" else len(content)
    for size in range(1, end, max(1, end // 60)):
        path.write_bytes(content[:size])
        refusal(path)


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
def test_random_damage_is_refused_or_gives_what_was_packed(tmp_path: Path, image: bytes, form: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(image)
    path = Path(shutil.make_archive(str(tmp_path / "x"), form, tmp_path / "in"))
    content, noise = path.read_bytes(), np.random.default_rng(3)
    for _ in range(150):
        changed = bytearray(content)
        changed[int(noise.integers(len(content)))] ^= int(noise.integers(1, 256))
        path.write_bytes(changed)
        try:
            with unpacked(path) as contents:
                found = [file.read_bytes() for file in contents.folder.rglob("*") if file.is_file()]
        except InputError:
            continue
        if form != "tar":  # a tar has no sum over its contents
            assert found == [image]


def test_more_members_than_allowed_are_refused_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[str]
) -> None:
    monkeypatch.setattr(archive, "LIMITS", replace(archive.LIMITS, members=50))
    blocks = b"".join(tar_header(f"{number}", 0) for number in range(51)) + bytes(1024)
    (tmp_path / "x.tar").write_bytes(blocks)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for number in range(51):
            packed.writestr(f"{number}", b"")
    for name in ("x.tar", "x.zip"):
        written.clear()
        assert "there are more than 50 files in it" in refusal(tmp_path / name)
        assert [each for each in written if not each.endswith(name)] == written[:1]  # the empty folder


def test_a_disk_without_room_is_a_matter_of_resources(
    tmp_path: Path, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar(("a.dcm", image)))
    monkeypatch.setattr(archive, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(ResourceError, match="set TMPDIR to a folder on a larger disk"):
        read(path)
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(ResourceError, match=r"there is nowhere to unpack it \(No such file.*; set TMPDIR"):
        read(path)


def test_an_unusable_tmpdir_is_refused_and_nothing_is_unpacked_elsewhere(
    tmp_path: Path, image: bytes, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar(("a.dcm", image)))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))  # what the system has
    for unusable in (tmp_path / "absent", path):
        monkeypatch.setenv("TMPDIR", str(unusable))
        with pytest.raises(ResourceError, match="TMPDIR must be a folder that can be written to") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("TMPDIR", "")
    with archive.unpacked(path) as contents:
        assert contents.folder.is_relative_to(scratch)


def test_a_zip_in_memory_order_other_than_the_directory_is_fine(tmp_path: Path, series: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(series.iterdir(), reverse=True):
            packed.write(file, file.name)
        packed.filelist.reverse()
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    assert read(tmp_path / "x.zip").grid.shape == STORED.shape
