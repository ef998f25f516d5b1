"""Output is whole or absent: errors, interrupts, a full disk and SIGKILL leave no partial file."""

import errno
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from medseg.errors import InputError, ResourceError, UsageError
from medseg.io.atomic import held_folder, staged_file, staged_folder


def finished_run(folder: Path, text: str = "old") -> Path:
    """A folder as a run leaves it: outputs, and run.json that lists them."""
    (folder / "tables").mkdir(parents=True)
    outputs = {}
    for name in ("measurements.csv", "tables/one.csv"):
        (folder / name).write_text(text)
        outputs[name] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps({"medseg": {"version": "0.1.0"}, "outputs": outputs}))
    return folder


def fail_inside(target: Path, problem: BaseException, *, overwrite: bool = False) -> None:
    """Write half of a folder, then raise."""
    with staged_folder(target, overwrite=overwrite) as folder:
        (folder / "measurements.csv").write_text("half")
        raise problem


def fail_inside_file(path: Path, problem: BaseException) -> None:
    """Write half of a file over an old one, then raise."""
    with staged_file(path, overwrite=True) as staged:
        staged.write_bytes(b"half")
        raise problem


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole_under_its_name(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out"
    with staged_folder(target, overwrite=False) as folder:
        assert not target.exists()
        assert folder.parent.parent.parent == target.parent
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")
    assert (target / "sub" / "a.txt").read_text() == "a"
    assert names(target.parent) == ["out"]


def test_what_is_being_written_is_private_and_what_is_published_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with staged_folder(tmp_path / "out", overwrite=False) as folder:
            assert stat.S_IMODE(folder.parent.parent.stat().st_mode) == 0o700
            (folder / "a.txt").write_text("a")
        with staged_file(tmp_path / "b.txt", overwrite=False) as path:
            path.write_text("b")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out", "out/a.txt", "b.txt")]
    assert modes == [0o750, 0o640, 0o640]


@pytest.mark.parametrize("problem", [InputError("bad"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_failure_leaves_nothing_not_even_the_parents_it_made(
    tmp_path: Path, problem: BaseException
) -> None:
    with pytest.raises(type(problem)):
        fail_inside(tmp_path / "new" / "deep" / "out", problem)
    assert names(tmp_path) == []


def test_a_failed_overwrite_keeps_the_old_result(tmp_path: Path) -> None:
    target = finished_run(tmp_path / "out")
    with pytest.raises(InputError):
        fail_inside(target, InputError("bad"), overwrite=True)
    assert (target / "measurements.csv").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    target = finished_run(tmp_path / "out")
    with (
        pytest.raises(UsageError, match=r"out exists; choose another folder or give --overwrite"),
        staged_folder(target, overwrite=False),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["out"]


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged_folder(tmp_path / "out", overwrite=False) as folder:
        (folder / "a.txt").write_text("a")
    assert names(tmp_path / "out") == ["a.txt"]


def test_overwriting_replaces_a_folder_that_medseg_wrote(tmp_path: Path) -> None:
    target = finished_run(tmp_path / "out")
    with staged_folder(target, overwrite=True) as folder:
        (folder / "new.txt").write_text("new")
        assert (target / "measurements.csv").read_text() == "old", "kept until the new one is whole"
    assert names(target) == ["new.txt"]
    assert names(tmp_path) == ["out"]


def foreign_file(target: Path) -> str:
    (target / "tables" / "thesis.docx").write_text("mine")
    return r"tables/thesis\.docx was not written by medseg"


def foreign_link(target: Path) -> str:
    (target / "tables" / "one.csv").unlink()
    (target / "tables" / "one.csv").symlink_to("/etc/passwd")
    return r"tables/one\.csv was not written by medseg"


def no_record(target: Path) -> str:
    (target / "run.json").unlink()
    return r"was not written by medseg \(no run.json"


def others_record(target: Path) -> str:
    (target / "run.json").write_text('{"outputs": {}}')
    return r"was not written by medseg \(no run.json"


def broken_record(target: Path) -> str:
    (target / "run.json").write_text('{"medseg": {')
    return r"was not written by medseg \(no run.json"


@pytest.mark.parametrize("spoil", [foreign_file, foreign_link, no_record, others_record, broken_record])
def test_overwriting_deletes_nothing_that_is_not_ours(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    target = finished_run(tmp_path / "out")
    reason = spoil(target)
    before = sorted(path.name for path in target.rglob("*"))
    with pytest.raises(UsageError, match=reason), staged_folder(target, overwrite=True):
        pytest.fail("the block must not run")
    assert sorted(path.name for path in target.rglob("*")) == before


def test_a_file_that_appears_during_the_run_is_kept(tmp_path: Path) -> None:
    target = finished_run(tmp_path / "out")
    with (
        pytest.raises(UsageError, match=r"late\.txt was not written by medseg"),
        staged_folder(target, overwrite=True),
    ):
        (target / "late.txt").write_text("mine")
    assert (target / "late.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    for overwrite in (False, True):
        with (
            pytest.raises(UsageError, match="not a folder"),
            staged_folder(tmp_path / "out", overwrite=overwrite),
        ):
            pytest.fail("the block must not run")


def test_a_link_to_a_folder_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with staged_folder(tmp_path / "out", overwrite=False) as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == ["a.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(target: Path) -> None:
        with staged_folder(target, overwrite=False) as folder:
            (folder / "big").symlink_to("/dev/full")
            (folder / "big").write_bytes(bytes(1 << 16))

    with pytest.raises(ResourceError, match="out: cannot be written to: no space left on device"):
        fill(tmp_path / "out")
    assert names(tmp_path) == []


def test_another_error_of_the_block_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "out", overwrite=False) as folder:
        (folder / "absent").read_text()


def test_a_place_that_cannot_be_written_is_refused_before_any_work() -> None:
    with (
        pytest.raises(ResourceError, match="/proc/medseg-out: cannot be made"),
        staged_folder(Path("/proc/medseg-out"), overwrite=False),
    ):
        pytest.fail("the block must not run")


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process may read and not write; root becomes nobody for the time being."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(before)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_refused_before_any_work(read_only: Path) -> None:
    with (
        pytest.raises(ResourceError, match="out: cannot be made: permission denied"),
        staged_folder(read_only / "new" / "out", overwrite=False),
    ):
        pytest.fail("the block must not run")


# ---- a single file


def test_a_file_keeps_its_whole_suffix_while_it_is_written(tmp_path: Path) -> None:
    with staged_file(tmp_path / "ct.nii.gz", overwrite=False) as path:
        assert path.name == "ct.nii.gz"
        path.write_bytes(b"image")
        assert not (tmp_path / "ct.nii.gz").exists()
    assert (tmp_path / "ct.nii.gz").read_bytes() == b"image"
    assert names(tmp_path) == ["ct.nii.gz"]


def test_an_existing_file_is_replaced_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="give --overwrite"), staged_file(path, overwrite=False):
        pytest.fail("the block must not run")
    with staged_file(path, overwrite=True) as staged:
        staged.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(InputError):
        fail_inside_file(path, InputError("bad"))
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["ct.nii.gz"]


def test_a_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    finished_run(tmp_path / "out")
    with pytest.raises(UsageError, match="not a file"), staged_file(tmp_path / "out", overwrite=True):
        pytest.fail("the block must not run")


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was written"), staged_file(tmp_path / "x", overwrite=False):
        pass


# ---- killed

WRITER = """
import sys, time
from pathlib import Path
from medseg.io.atomic import staged_folder
with staged_folder(Path(sys.argv[1]), overwrite=True) as folder:
    (folder / "half.bin").write_bytes(bytes(1 << 20))
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(target: Path) -> "subprocess.Popen[str]":
    """A process in the middle of its output."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "writing\n"
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_run_leaves_no_target_and_the_next_one_clears_up(tmp_path: Path) -> None:
    target = tmp_path / "out"
    kill(start_writer(target))
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.partial-")
    with staged_folder(target, overwrite=False) as folder:
        (folder / "a.txt").write_text("a")
    assert names(tmp_path) == ["out"]
    assert names(target) == ["a.txt"]


def test_an_interrupt_at_any_line_of_its_making_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made" / "out"

    def interrupted_at(moment: int) -> bool:
        """Stage the folder with an interrupt before a line that makes it; whether there are so many."""
        lines = 0

        def trace(frame: FrameType, event: str, arg: Any) -> Callable[[FrameType, str, Any], Any] | None:
            nonlocal lines
            if frame.f_code.co_name not in ("_make_parents", "_locked_folder"):
                return None
            if event == "line":
                lines += 1
                if lines == moment:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            with staged_folder(target, overwrite=True):
                sys.settrace(None)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    moment = 1
    while interrupted_at(moment):
        assert not list(tmp_path.iterdir()), f"line {moment}"
        moment += 1
    assert moment > 10
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_a_living_runs_staging_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    process = start_writer(target)
    try:
        with staged_folder(target, overwrite=False) as folder:
            (folder / "a.txt").write_text("a")
        assert len(list(tmp_path.glob(".out.partial-*/new/out/half.bin"))) == 1
    finally:
        kill(process)


def test_what_a_run_killed_between_the_renames_put_aside_is_put_back(tmp_path: Path) -> None:
    target = finished_run(tmp_path / "out")
    kill(start_writer(target))
    (staging,) = tmp_path.glob(".out.partial-*")
    target.rename(staging / "old" / "out")  # as far as the killed run had come
    with pytest.raises(UsageError, match="exists"), staged_folder(target, overwrite=False):
        pytest.fail("the block must not run")
    assert (target / "measurements.csv").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_leftovers_of_another_target_are_not_touched(tmp_path: Path) -> None:
    kill(start_writer(tmp_path / "other"))
    (tmp_path / ".out.partial-notes").mkdir()
    with staged_folder(tmp_path / "out", overwrite=False):
        pass
    assert len(names(tmp_path)) == 3


def test_errno_of_a_full_quota_counts_as_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="quota"):
        fail_inside(tmp_path / "out", OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))


@pytest.mark.parametrize(
    "how", [held_folder, partial(staged_folder, overwrite=False)], ids=["held", "staged"]
)
def test_a_name_too_long_for_the_file_system_is_one_line(
    how: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path
) -> None:
    with (
        pytest.raises(ResourceError, match="x: cannot be made: file name too long"),
        how(tmp_path / ("x" * 300)),
    ):
        pass
    assert not list(tmp_path.iterdir())
