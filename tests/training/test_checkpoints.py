import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medseg.errors import ResourceError
from medseg.training.checkpoints import keep, newest


def kept(folder: Path, epoch: int, content: bytes = b"") -> Path:
    return keep(folder, epoch, lambda path: path.write_bytes(content or f"epoch {epoch}".encode()))


def found(folder: Path) -> tuple[str | None, list[str]]:
    """What the newest one holds, and what was said on the way."""
    told: list[str] = []
    path = newest(folder, tell=told.append)
    return None if path is None else path.read_text(), told


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert found(folder) == (None, [])
    for epoch in (1, 2, 3, 9, 10, 11):
        path = kept(folder, epoch)
        assert found(folder) == (f"epoch {epoch}", [])
        assert path == newest(folder)
    assert sorted(each.name[:11] for each in folder.iterdir()) == ["epoch000010", "epoch000011"]


def test_epochs_are_numbers_however_many_digits_they_have(tmp_path: Path) -> None:
    for epoch in (999_999, 1_000_000):
        kept(tmp_path, epoch)
    assert found(tmp_path) == ("epoch 1000000", [])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flipped, truncated, emptied])
def test_a_damaged_one_falls_back_to_the_one_before_and_says_so(tmp_path: Path, damage: object) -> None:
    before, last = kept(tmp_path, 4), kept(tmp_path, 5)
    damage(last)  # type: ignore[operator]  # one of the three above
    assert found(tmp_path) == ("epoch 4", [f"{last.name}: is damaged; the one before it is taken"])
    damage(before)  # type: ignore[operator]
    assert found(tmp_path)[0] is None
    assert len(found(tmp_path)[1]) == 2


def test_one_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    kept(tmp_path, 4)
    last = kept(tmp_path, 5)
    last.unlink()
    last.mkdir()
    assert found(tmp_path) == (
        "epoch 4",
        [f"{last.name}: cannot be read (Is a directory); the one before it is taken"],
    )


def test_after_damage_the_training_keeps_its_own_again(tmp_path: Path) -> None:
    for epoch in (7, 8):
        flipped(kept(tmp_path, epoch, f"old {epoch}".encode()))
    for epoch in (1, 2, 3):  # begun anew, as none was whole
        kept(tmp_path, epoch)
        assert found(tmp_path) == (f"epoch {epoch}", [])
    assert len(list(tmp_path.iterdir())) == 2


def test_an_epoch_done_again_replaces_its_damaged_checkpoint(tmp_path: Path) -> None:
    kept(tmp_path, 4)
    flipped(kept(tmp_path, 5, b"old"))
    kept(tmp_path, 5)
    assert found(tmp_path) == ("epoch 5", [])
    assert sorted(each.name[:11] for each in tmp_path.iterdir()) == ["epoch000004", "epoch000005"]


def test_other_files_are_left_alone_but_parts_of_killed_processes_are_not(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "mine.ckpt").write_text("mine")
    (tmp_path / ".epoch000001.999.part").write_bytes(b"half")
    path = kept(tmp_path, 2)
    assert {each.name for each in tmp_path.iterdir()} == {"notes.txt", "mine.ckpt", path.name}


def test_an_interrupt_while_writing_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    kept(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, 2, half)
    assert found(tmp_path) == ("epoch 1", [])
    assert len(list(tmp_path.glob("*.ckpt"))) == 1


SLOWLY = """
import sys, time
from pathlib import Path
from medseg.training.checkpoints import keep
def save(path):
    with path.open("wb") as file:
        for _ in range(10_000):
            file.write(bytes(1000)); file.flush(); time.sleep(0.001)
keep(Path(sys.argv[1]), 2, save)
"""


def test_a_kill_while_writing_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    kept(tmp_path, 1)
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size for part in tmp_path.glob("*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.glob(".*.part"))) == 1
    assert found(tmp_path) == ("epoch 1", [])
    kept(tmp_path, 2)
    assert not list(tmp_path.glob(".*.part"))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk without space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_without_space_earlier_ones_stay(tmp_path: Path) -> None:
    kept(tmp_path, 1)
    kept(tmp_path, 2)
    with largest_file(1000), pytest.raises(ResourceError, match="cannot be written: File too large; free"):
        kept(tmp_path, 3, bytes(5000))
    assert found(tmp_path) == ("epoch 2", [])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ResourceError, match="cannot be written: Permission denied"):
            kept(tmp_path / "checkpoints", 1)
    finally:
        tmp_path.chmod(0o700)
