"""Files are opened without blocking and hashed while they are read."""

import hashlib
import os
from pathlib import Path

import pytest

from medseg.errors import InputError
from medseg.io.regular_file import is_folder, open_regular, printable, require_regular

CONTENT = bytes(range(256)) * 9000


@pytest.mark.parametrize("taken", [0, 1, 4096, len(CONTENT)])
def test_the_digest_is_the_whole_files_however_much_was_read(tmp_path: Path, taken: int) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    with open_regular(tmp_path / "a") as file:
        assert file.read(taken) == CONTENT[:taken]
        assert file.size == len(CONTENT)
        assert file.sha256() == hashlib.sha256(CONTENT).hexdigest()
    assert file.closed


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with open_regular(tmp_path / "a") as file:
            file.read(10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_passes_only_where_one_is_asked_for(tmp_path: Path) -> None:
    assert require_regular(tmp_path, or_folder=True).st_ino == tmp_path.stat().st_ino
    with pytest.raises(InputError, match="a folder"):
        require_regular(tmp_path)


def test_undecodable_and_control_bytes_are_escaped() -> None:
    path = Path(os.fsdecode(b"scan\xff\n\t.nii"))
    assert printable(path) == r"scan\udcff\n\t.nii"
    assert printable(Path("\u4e2d \u00e9.nii")) == "\u4e2d \u00e9.nii"


def test_what_cannot_be_looked_up_is_no_folder_and_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / ("x" * 300), tmp_path / "loop", tmp_path / "a\0b"):
        assert not is_folder(path)
        with pytest.raises(InputError), open_regular(path):
            pass
    assert is_folder(tmp_path)
