"""Archives and folders that somebody else packed."""

import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
from model_archives import good, member, patched, write_folder, write_zip

from medseg.errors import ModelError
from medseg.model import opened


def unpacked(source: Path, folder: Path) -> dict[str, bytes]:
    """What comes of unpacking."""
    folder.mkdir()
    with opened(source) as parcel:
        parcel.copy_all(folder)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(source: Path) -> str:
    folder = source.parent / "unpacked"
    with pytest.raises(ModelError) as caught:
        unpacked(source, folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    outside = {path.name for path in source.parent.iterdir()} - {source.name, "unpacked"}
    assert outside == set()
    return str(caught.value)


def test_a_folder_and_its_archives_give_the_same_files(tmp_path: Path) -> None:
    files = {**good(), "sub/notes.md": b"text\n"}
    assert unpacked(write_folder(tmp_path / "folder", files), tmp_path / "a") == files
    assert unpacked(write_zip(tmp_path / "flat.zip", files), tmp_path / "b") == files
    nested = {f"mine-1.5/{name}": data for name, data in files.items()}
    assert unpacked(write_zip(tmp_path / "nested.zip", nested), tmp_path / "c") == files
    listed = write_zip(tmp_path / "listed.zip", nested, (member("mine-1.5/", mode=stat.S_IFDIR | 0o755), b""))
    assert unpacked(listed, tmp_path / "d") == files


def test_modes_are_not_kept(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "x.zip", good(), (member("x.md", mode=stat.S_IFREG | 0o6777), b"text"))
    unpacked(source, tmp_path / "new")
    assert (tmp_path / "new" / "x.md").stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "leads out of the model's folder") for name in ("../x.md", "a/../../x.md", "/x.md", "a/..")),
        *((name, "leads out of the model's folder") for name in ("C:/x.md", "..\\x.md", "a\\x.md")),
        *((name, "is not plainly named") for name in ("./x.md", "a//x.md", "x.md\0.png", "x\n.md", "x y.md")),
        *((name, "is no file of a model") for name in ("w.pth", "run.py", "lib.so", "inner.zip")),
        ("W.safetensors", "differ in capitals only"),
        ("w.safetensors", "are one name"),
        ("LICENSE/x.md", "are one name"),
        ("__MACOSX/x.md", "is not plainly named"),
    ],
)
def test_a_name_that_leads_elsewhere_or_nowhere_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says that a name is there twice
        source = write_zip(tmp_path / "x.zip", good(), (member(name), b"text"))
    assert said in refused(source)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFLNK | 0o777, "'x.md' is a link"),
        (stat.S_IFCHR | 0o666, "'x.md' is a device or the like"),
        (stat.S_IFBLK | 0o666, "'x.md' is a device or the like"),
        (stat.S_IFIFO | 0o666, "'x.md' is a device or the like"),
        (stat.S_IFSOCK | 0o666, "'x.md' is a device or the like"),
        (stat.S_IFDIR | 0o755, "'x.md' is a device or the like"),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, mode: int, said: str) -> None:
    assert said in refused(write_zip(tmp_path / "x.zip", good(), (member("x.md", mode=mode), b"/etc/passwd")))


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2000])
def test_an_encrypted_archive_is_refused(tmp_path: Path, flag: int) -> None:
    source = patched(write_zip(tmp_path / "x.zip", good()), "card.yaml", flags=flag)
    assert "'card.yaml' is encrypted; pack it without a password" in refused(source)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compression_is_refused(tmp_path: Path, method: int) -> None:
    source = write_zip(tmp_path / "x.zip", good(), (member("x.md", method=method), b"text"))
    assert "is compressed in a rare way" in refused(source)


def test_a_bomb_is_refused_unexploded(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "x.zip", good(), (member("b.safetensors"), bytes(20 << 20)))
    assert source.stat().st_size < 30_000
    assert "claims to become 20971520 bytes out of" in refused(source)


def test_a_bomb_that_lies_about_its_size_goes_no_further_than_it_said(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "x.zip", good(), (member("b.safetensors"), bytes(20 << 20)))
    patched(source, "b.safetensors", size=1000)
    assert "is a damaged zip archive" in refused(source)
    assert sum(p.stat().st_size for p in (tmp_path / "unpacked").iterdir()) < 5000


def test_a_member_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    source = patched(write_zip(tmp_path / "x.zip", good()), "w.safetensors", size=0xFFFFFFF0)
    assert "claims to become 4294967280 bytes" in refused(source)


def test_more_names_than_a_model_has_are_refused(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "x.zip", {f"{number}.md": b"" for number in range(1001)})
    assert "there are more than 1000 files" in refused(source)


def test_a_directory_of_megabytes_is_refused_unread(tmp_path: Path) -> None:
    names = {f"{number}{'x' * 60_000}.md": b"" for number in range(80)}
    source = write_zip(tmp_path / "x.zip", names)
    assert "its directory claims" in refused(source)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = write_zip(tmp_path / "x.zip", good(), (member("card.yaml"), b"name: other\n"))
    assert "'card.yaml' and 'card.yaml' are one name" in refused(source)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = write_zip(tmp_path / "x.zip", good()).read_bytes()
    for size in range(0, len(content), 9):
        (tmp_path / "x.zip").write_bytes(content[:size])
        with pytest.raises(ModelError), opened(tmp_path / "x.zip"):
            pass


def test_random_damage_never_gives_other_files(tmp_path: Path) -> None:
    """Any byte of an archive changed: refused in one line, or what comes out was packed.

    A directory that says less than there is has no checksum: that something lacks is found by the check of
    the whole model.
    """
    files, said = good(), set()
    content = write_zip(tmp_path / "x.zip", files).read_bytes()
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        (tmp_path / "x.zip").write_bytes(changed)
        try:
            found = unpacked(tmp_path / "x.zip", tmp_path / str(place))
        except ModelError as problem:
            said.add(str(problem).split("'")[-1])
        else:
            assert set(found.values()) <= set(files.values())
    assert len(said) > 3
    assert all(message.isprintable() for message in said)


def test_an_archive_with_something_before_it_is_refused(tmp_path: Path) -> None:
    content = write_zip(tmp_path / "x.zip", good()).read_bytes()
    (tmp_path / "x.zip").write_bytes(b"#!/bin/sh\n" + content)
    assert "is neither a model's folder nor a zip archive" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x1f\x8b", b"{}"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert "zip archive" in refused(tmp_path / "x.zip")


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0))
    assert "zip archive" in refused(tmp_path / "x.zip")


def test_two_folders_in_an_archive_are_no_model(tmp_path: Path) -> None:
    files = {"a/pipeline.yaml": b"", "b/pipeline.yaml": b""}
    assert "is no file of a model" in refused(write_zip(tmp_path / "x.zip", files))
