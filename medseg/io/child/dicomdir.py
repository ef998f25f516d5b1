"""DICOMDIR files in the decoder process: which images a disc's directory names.

Records stand one after another in one sequence, so that is how they are read: the offsets that link them into
a tree are not followed, and cannot lead in circles. Of a record, no more than its kind and file is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from medseg.io.child.reply import RefusedError, Reply

__all__ = ["dicomdir"]

MOST_BYTES = 256 << 20  # a record has 400 to 2000 bytes
MOST_RECORDS = 500_000
MOST_PARTS = 64  # of a path; the parent allows fewer and says so
MOST_LETTERS = 256
BATCH = 1000  # paths in one reply
UNUSED = 0  # RecordInUseFlag of a record that was deleted


def dicomdir(request: dict[str, Any]) -> Iterator[Reply]:
    """Paths of the images that a DICOMDIR names, as lists of their parts, some in each reply."""
    from pydicom import dcmread

    path = Path(request["files"][0])
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise RefusedError(f"a DICOMDIR of {size >> 20} MiB; at most {MOST_BYTES >> 20} MiB are read")
        dataset = dcmread(file, force=True, specific_tags=["DirectoryRecordSequence"])
    records = dataset.get("DirectoryRecordSequence") or ()
    if len(records) > MOST_RECORDS:
        raise RefusedError(f"it has {len(records)} records; at most {MOST_RECORDS} are read")
    paths = (parts for record in records if (parts := _path(record)) is not None)
    while batch := list(islice(paths, BATCH)):
        yield {"paths": batch}, None


def _path(record: Any) -> list[str] | None:
    """The file an image record names; None for what is no image, or was deleted."""
    if str(record.get("DirectoryRecordType", "")).strip() != "IMAGE":
        return None
    if record.get("RecordInUseFlag") == UNUSED:
        return None
    named = record.get("ReferencedFileID")
    if named is None:
        return []
    parts = [named] if isinstance(named, str) else list(named)
    return [str(part)[:MOST_LETTERS] for part in parts[:MOST_PARTS]]
