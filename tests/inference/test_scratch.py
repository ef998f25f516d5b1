"""Where scores go on disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from medseg import ResourceError
from medseg.inference import scratch


def test_a_scratch_file_has_its_size_and_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch.scratch_file(123_456) as file:
        status = os.fstat(file.fileno())
        assert status.st_size == 123_456
        assert status.st_nlink == 0
        assert list(tmp_path.iterdir()) == []


def test_memory_is_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 0:5 / {tmp_path} rw shared:1 - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr(scratch, "MOUNTS", mounts)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch.scratch_file(10) as file:
        assert os.fstat(file.fileno()).st_size == 10
    assert os.path.realpath(tmp_path) not in list(scratch._folders())


def test_too_little_room_is_said_before_anything_is_written() -> None:
    with pytest.raises(ResourceError, match=r"1000000000\.0 GB on disk are needed .* GB are free.*TMPDIR"):
        scratch.scratch_file(10**18)
