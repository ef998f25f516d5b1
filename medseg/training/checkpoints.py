"""Checkpoints: what a stopped training goes on from. Never half a file, and never a damaged one.

A file's name ends in the start of its SHA-256, so that one that was damaged is known and passed over for the
one before it. They are Lightning's, loaded with `weights_only`: nothing in them is run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from medseg.errors import ResourceError

__all__ = ["keep", "newest"]

logger = logging.getLogger(__name__)

NAME = re.compile(r"epoch(\d{6,})-([0-9a-f]{16})\.ckpt")
KEPT = 2


def keep(folder: Path, epoch: int, save: Callable[[Path], object]) -> Path:
    """Let `save` write a checkpoint and publish it; older ones but one are then removed.

    Raises ResourceError where it cannot be written; those that were there are then still there.
    """
    partial = folder / f".epoch{epoch:06d}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save(partial)
        content = partial.read_bytes()
        path = folder / f"epoch{epoch:06d}-{hashlib.sha256(content).hexdigest()[:16]}.ckpt"
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(folder)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise ResourceError(
            f"{folder}: a checkpoint cannot be written: {problem.strerror or problem}; free space, --resume"
        ) from problem
    there = list(_all(folder))
    damaged = [old for old in there if old != path and _epoch(old) >= epoch]  # or this would not be its turn
    for old in [*damaged, *[each for each in there if each not in damaged][KEPT:]]:
        old.unlink(missing_ok=True)
    for left in folder.glob(".epoch*.part"):  # of a process that was killed
        left.unlink(missing_ok=True)
    return path


def newest(folder: Path, *, tell: Callable[[str], object] = logger.warning) -> Path | None:
    """The newest checkpoint that is whole; None where there is none. `tell` hears of damaged ones."""
    for path in _all(folder):
        found = NAME.fullmatch(path.name)
        assert found is not None  # _all has seen to it
        try:
            if hashlib.sha256(path.read_bytes()).hexdigest().startswith(found[2]):
                return path
        except OSError as problem:
            tell(f"{path.name}: cannot be read ({problem.strerror}); the one before it is taken")
            continue
        tell(f"{path.name}: is damaged; the one before it is taken")
    return None


def _all(folder: Path) -> Iterator[Path]:
    """Every checkpoint, the newest first."""
    found = [path for path in folder.glob("*.ckpt") if NAME.fullmatch(path.name)]
    yield from sorted(found, key=_epoch, reverse=True)


def _epoch(path: Path) -> int:
    return int(path.name[5:].split("-")[0])


def _sync(folder: Path) -> None:
    """See to it that a name in a folder outlives a loss of power."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
