"""Names of label values that a mask does not carry itself: from a JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medseg.errors import InputError
from medseg.io.regular_file import open_regular

__all__ = ["names_beside"]

MOST_BYTES = 1 << 20
MOST_NAME = 200
ENDINGS = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".mha", ".png", ".tif", ".tiff")


def names_beside(path: Path) -> dict[int, str]:
    """Names by value from `NAME.json` beside `NAME.nii.gz`, else `dataset.json` there or one folder up.

    The file's "labels" are names to values or values to names, as in nnU-Net's and the Medical Segmentation
    Decathlon's dataset.json. Empty where there is none that says so: such files often tell other things.
    """
    stem = path.name
    for ending in ENDINGS:
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    for file in (
        path.parent / f"{stem}.json",
        path.parent / "dataset.json",
        path.parent.parent / "dataset.json",
    ):
        names = _names(file)
        if names:
            return names
    return {}


def _names(file: Path) -> dict[int, str]:
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            return {}
        with open_regular(file) as stream:
            told = json.loads(stream.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError, InputError):
        return {}
    table = told.get("labels") if isinstance(told, dict) else None
    if not isinstance(table, dict):
        return {}
    names: dict[int, str] = {}
    for key, value in table.items():
        for number, name in _pairs(key, value):
            names.setdefault(number, name)
    return names


def _pairs(key: str, value: Any) -> Iterator[tuple[int, str]]:
    """The value and name of one entry, in whichever order it has them; nothing of any other entry."""
    if isinstance(value, int) and not isinstance(value, bool):
        yield value, key[:MOST_NAME]
    elif isinstance(value, str) and key.isascii() and key.isdigit():
        yield int(key[:10]), value[:MOST_NAME]
