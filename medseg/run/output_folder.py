"""A cohort's output folder before a run: whether it may be used, and what an earlier run left there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.errors import InputError, UsageError
from medseg.io.regular_file import open_regular, printable
from medseg.run.cases import TABLES, Task
from medseg.run.summary import RECORD

__all__ = ["foreign_folders", "record_in", "require_free", "require_record"]

MOST_RECORD_BYTES = 64 << 20


def require_free(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder with something in it unless told what to do, and tables that are somebody else's."""
    if next(out.iterdir(), None) is None:
        return
    if not (resume or overwrite):
        raise UsageError(
            f"{printable(out)} is not empty; give --resume to go on with an earlier run, --overwrite to do "
            "it again, or another folder"
        )
    taken = [name for name in TABLES if (out / name).exists()]
    if taken and not isinstance(record_in(out / RECORD).get("medseg"), dict):
        raise UsageError(
            f"{printable(out / taken[0])} was not written by medseg (no {RECORD} with it); "
            "choose another folder"
        )


def require_record(folder: Path) -> None:
    """Refuse a case's folder that holds something and no record of a run, and say how to go on."""
    if not folder.is_dir() or next(folder.iterdir(), None) is None:
        return
    if not isinstance(record_in(folder / "run.json").get("outputs"), dict):
        raise UsageError(
            f"{printable(folder)} was not written by medseg or lost its run.json; move it away, then --resume"
        )


def foreign_folders(out: Path, tasks: Sequence[Task]) -> int:
    """How many folders of an output folder are none of these cases'; hidden ones do not count."""
    own = {task.case for task in tasks}
    there = (path.name for path in out.iterdir() if path.is_dir())
    return sum(not name.startswith(".") and name not in own for name in there)


def record_in(path: Path) -> dict[str, Any]:
    """The record in a file; empty where there is none that can be read."""
    try:
        with open_regular(path) as file:
            content = json.loads((file.readall() or b"") if file.size <= MOST_RECORD_BYTES else b"")
    except (InputError, OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
