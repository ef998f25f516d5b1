"""Output that is whole or absent: written aside, flushed to the disk, then renamed into place.

Beside the target lies, while it is written, a hidden folder `.NAME.partial-XXXXXXXX`:

    lock     held (flock) by the writing process; free once that process is gone, however it ended
    new/     what is being written
    old/     what is being replaced, between the two renames

A run that was killed leaves this folder behind; the next one with the same target finds its lock free, puts
`old` back if nothing has taken its place, and removes the rest.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from medseg.errors import ResourceError, UsageError
from medseg.io.regular_file import printable

__all__ = ["clear_stale", "held_folder", "staged_file", "staged_folder"]

RUN_RECORD = "run.json"
MOST_RECORD_BYTES = 1 << 26
# Of what a writer may raise, these are about the disk; another OSError is its own and stays as it is.
DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
LONGEST_NAME = 200  # bytes of the target's name in the staging folder's; file systems allow 255 in all
ATTEMPTS = 100


@contextmanager
def staged_folder(
    target: Path, *, overwrite: bool, require_ours: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """An empty folder to write into; becomes `target` when the block ends well, else it vanishes.

    An existing folder is refused unless it is empty, or `overwrite` is set and every file in it is listed as
    an output in its `run.json`: what medseg did not write, it does not delete. For folders that are no run's,
    `require_ours` looks at the one to be replaced, and raises UsageError where it must stay. Raises
    UsageError for that, before anything is written, and ResourceError where the disk or a permission is in
    the way.
    """
    ours = require_ours or _require_ours
    target = _resolved(target)
    clear_stale(target)
    _require_free(target, overwrite=overwrite, ours=ours)
    with _staging(target) as staging:
        content = staging / "new" / target.name
        with _disk_trouble(target, "made"):
            content.mkdir()
        with _disk_trouble(target, "written to", DISK_TROUBLE):
            yield content
        _require_free(target, overwrite=overwrite, ours=ours)  # a run takes minutes; look again
        _publish(content, target, staging / "old")


@contextmanager
def staged_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to write to, of the same name and so the same suffix; what is there becomes `path` at the end.

    An existing file is refused unless `overwrite` is set. Raises UsageError for that and where nothing was
    written, ResourceError where the disk or a permission is in the way.
    """
    path = _resolved(path)
    clear_stale(path)
    _require_free(path, overwrite=overwrite, ours=None)
    with _staging(path) as staging:
        content = staging / "new" / path.name
        with _disk_trouble(path, "written to", DISK_TROUBLE):
            yield content
        if not content.is_file():
            raise UsageError(f"{printable(path)}: nothing was written under this name")
        _require_free(path, overwrite=overwrite, ours=None)
        _publish(content, path, staging / "old")


@contextmanager
def held_folder(target: Path, *, waiting: Callable[[], object] | None = None) -> Iterator[Path]:
    """A folder, made where need be, that one run at a time can hold; gone again if nothing was put into it.

    Where another run holds it, `waiting` is called and its end is waited for. Without it ResourceError is
    raised, as where the folder cannot be written into; UsageError where the target is something else.
    """
    target = _resolved(target)
    made: list[Path] = []
    try:
        with _disk_trouble(target, "made"):
            if target.exists() and not target.is_dir():
                raise UsageError(f"{printable(target)} exists and is not a folder; choose another name")
            _make_parents(target, made)
        with _disk_trouble(target, "opened"):
            held = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _hold(target, held, waiting)
            yield target
        finally:
            os.close(held)
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # not empty
                folder.rmdir()


def _hold(target: Path, descriptor: int, waiting: Callable[[], object] | None) -> None:
    """Lock a folder until its descriptor is closed, by whatever end of the process."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting is None:
            raise ResourceError(
                f"{printable(target)}: another run is writing into it; wait for its end or choose another "
                "folder"
            ) from None
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass
    if not os.access(target, os.W_OK | os.X_OK):
        raise ResourceError(f"{printable(target)}: cannot be written into; choose another folder")


def _resolved(target: Path) -> Path:
    """The target with links followed, so that staging lies on the file system that it really is on."""
    try:
        resolved = target.resolve()
    except (OSError, RuntimeError) as problem:
        raise UsageError(
            f"{printable(target)}: is a loop of symbolic links; choose another path"
        ) from problem
    if not resolved.name:
        raise UsageError(f"{printable(target)}: is the root of the file system; choose a folder in it")
    return resolved


# ---- what may be replaced


def _require_free(target: Path, *, overwrite: bool, ours: Callable[[Path], None] | None) -> None:
    """Raise UsageError where something is in the target's place that must not be replaced.

    `ours` says so of a folder that is not empty; it is None where the target is to be a file.
    """
    try:
        mode = target.lstat().st_mode
    except OSError:
        return  # absent, or not to be looked at, which making the staging folder will say
    if ours is None:
        if not stat.S_ISREG(mode):
            raise UsageError(f"{printable(target)} exists and is not a file; choose another name")
        if not overwrite:
            raise UsageError(f"{printable(target)} exists; choose another name or give --overwrite")
        return
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{printable(target)} exists and is not a folder; choose another name")
    if os.path.ismount(target):
        raise UsageError(
            f"{printable(target)} is a mount point and cannot be replaced; choose a folder in it"
        )
    with _disk_trouble(target, "looked into"):
        if next(target.iterdir(), None) is None:
            return
    if not overwrite:
        raise UsageError(f"{printable(target)} exists; choose another folder or give --overwrite")
    ours(target)


def _require_ours(target: Path) -> None:
    """Raise UsageError naming the first file in a folder that its run.json does not list."""
    outputs = _outputs(target / RUN_RECORD)
    if outputs is None:
        raise UsageError(
            f"{printable(target)} was not written by medseg (no {RUN_RECORD} of it); choose another folder"
        )
    with _disk_trouble(target, "looked into"):
        for path in sorted(target.rglob("*")):
            mode = path.lstat().st_mode
            name = path.relative_to(target).as_posix()
            if not stat.S_ISDIR(mode) and (name not in outputs or not stat.S_ISREG(mode)):
                foreign = f"{printable(path)} was not written by medseg"
                raise UsageError(f"{foreign}, so its folder is not replaced; move it away")


def _outputs(record: Path) -> set[str] | None:
    """Names of the files a run wrote, its record among them; None where this is no record of a run."""
    try:
        if not stat.S_ISREG(record.lstat().st_mode) or record.stat().st_size > MOST_RECORD_BYTES:
            return None
        content = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("medseg"), dict):
        return None
    outputs = content.get("outputs")
    return {*outputs, RUN_RECORD} if isinstance(outputs, dict) else None


# ---- the staging folder


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A locked staging folder beside the target, gone at the end; parents made for it go too if all fails."""
    made: list[Path] = []
    held: tuple[Path, int] | None = None
    done = False
    try:
        with _disk_trouble(target, "made"):
            _make_parents(target.parent, made)
            held = _locked_folder(target)
        yield held[0]
        done = True
    finally:
        if held is not None:
            _remove(held[0])
            os.close(held[1])
        if not done:
            for folder in reversed(made):
                with suppress(OSError):  # not empty: somebody else uses it by now
                    folder.rmdir()


def _make_parents(folder: Path, made: list[Path]) -> None:
    """Make a folder with its parents; those that were not there are noted in `made`, outermost first."""
    missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    for path in reversed(missing):
        made.append(path)  # before it is there: an interrupt may come between
        try:
            path.mkdir()
        except FileExistsError:
            made.pop()


def _prefix(target: Path) -> str:
    name = os.fsencode(target.name)[:LONGEST_NAME].decode(errors="ignore")
    return f".{name}.partial-"


def _locked_folder(target: Path) -> tuple[Path, int]:
    """A new staging folder and the descriptor that holds its lock; an interrupt leaves neither."""
    for _ in range(ATTEMPTS):
        staging = target.parent / (_prefix(target) + secrets.token_hex(4))
        lock = None
        try:
            staging.mkdir(mode=0o700)
            lock = os.open(staging / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with suppress(OSError):  # a file system without locks: nothing is ever taken for a leftover there
                fcntl.flock(lock, fcntl.LOCK_EX)
            if (staging / "lock").exists():
                (staging / "new").mkdir()
                (staging / "old").mkdir()
                return staging, lock
            os.close(lock)
        except (FileExistsError, FileNotFoundError):  # the name is taken, or another run took the still
            continue  # empty folder for a leftover
        except BaseException:
            _remove(staging)
            if lock is not None:
                os.close(lock)
            raise
    raise FileExistsError(errno.EEXIST, "no free name for the staging folder")


def clear_stale(target: Path) -> None:
    """Remove what killed runs with this target left behind; what a living run holds is left alone."""
    try:
        beside = list(target.parent.iterdir())
    except OSError:
        return  # not there yet, or a folder one may write to but not list
    for staging in beside:
        tail = staging.name.removeprefix(_prefix(target))
        if tail == staging.name or len(tail) != 8 or staging.is_symlink():
            continue
        try:
            lock = os.open(staging / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            with suppress(OSError):
                staging.rmdir()  # killed before the lock was made, or after it was removed: empty
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # its writer is alive, or this file system has no locks
        else:
            old = staging / "old" / target.name
            with _disk_trouble(target, "put back"):
                if old.exists() and not target.exists():
                    old.rename(target)
            _remove(staging)
        finally:
            os.close(lock)


def _remove(staging: Path) -> None:
    """Remove a staging folder, its lock last, so that a half-removed one is still known for what it is."""
    for part in ("new", "old"):
        shutil.rmtree(staging / part, ignore_errors=True)
    with suppress(OSError):
        (staging / "lock").unlink(missing_ok=True)
        staging.rmdir()


# ---- into place


def _publish(content: Path, target: Path, aside: Path) -> None:
    """Flush to the disk, rename into place, and flush the folder that holds the name."""
    with _disk_trouble(target, "written"):
        _flush(content)
        old = aside / target.name
        try:
            if target.is_dir() and next(target.iterdir(), None) is not None:
                target.rename(old)
            content.rename(target)
        except BaseException:  # an interrupt between the renames too must not cost the old result
            if old.exists() and not target.exists():
                old.rename(target)
            raise
        _flush_one(target.parent)


def _flush(path: Path) -> None:
    """Flush a file, or a folder's files and then the folders, innermost first."""
    if path.is_dir():
        for inner in path.iterdir():
            if not inner.is_symlink():
                _flush(inner)
    _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_trouble(target: Path, verb: str, among: set[int] | None = None) -> Iterator[None]:
    """Turn an OSError (one of `among`, where given) into a ResourceError of one line."""
    try:
        yield
    except OSError as problem:
        if among is not None and problem.errno not in among:
            raise
        reason = (problem.strerror or str(problem)).lower()
        raise ResourceError(
            f"{printable(target)}: cannot be {verb}: {reason}; free space or choose another place"
        ) from problem
