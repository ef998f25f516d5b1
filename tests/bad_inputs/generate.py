"""Write malformed and odd inputs and an index.json that says what must happen to each.

    python tests/bad_inputs/generate.py NEW_FOLDER [--only NAME_OR_FAMILY ...]
    python tests/bad_inputs/generate.py --list

The same bytes in every run. `score.py` judges a command over the folder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this runs as a script too

from bad_inputs.cases import CASES, PHI, Case

__all__ = ["generate", "registered"]

FAMILIES = (
    "nifti",
    "filesystem",
    "dicom_geometry",
    "dicom_values",
    "nifti_pairs",
    "dicom_frames",
    "dicom_hostile",
    "archives",
    "raster",
)
CONVENTIONS = {
    "reject": "exit != 0 (and not by a signal); one clear line naming the file and the reason; no traceback; "
    "nothing left in the output folder",
    "accept": "exit 0; geometry as stated (RAS+ affine up to axis permutation/flip of storage; world probes "
    "hold)",
    "warn": "exit 0 with a line that names the file and the reason; geometry as stated if given",
    "also_ok": "other outcomes allowed if the project documents that policy",
    "limits": "wall seconds and peak resident memory of the whole process tree",
}


def registered() -> dict[str, Case]:
    """Every case by name."""
    for family in FAMILIES:
        importlib.import_module(f"bad_inputs.{family}")
    return CASES


def generate(out: Path, only: Collection[str] = ()) -> dict[str, Any]:
    """Write the cases, or those (of the families) named, into a new or empty folder; returns the index."""
    import nibabel
    import numpy as np
    import pydicom

    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise SystemExit(f"{out} is not empty; give a new folder")
    start = time.monotonic()
    with _rules_may_be_broken():
        rows = [
            _written(case, out)
            for case in registered().values()
            if not only or case.name in only or case.family in only
        ]
    index = {
        "format": 1,
        "set": "open",
        "count": len(rows),
        "seconds": round(time.monotonic() - start, 2),
        "skipped": [],
        "phi_canaries": list(PHI),
        "numpy": np.__version__,
        "nibabel": nibabel.__version__,
        "pydicom": pydicom.__version__,
        "conventions": CONVENTIONS,
        "cases": rows,
    }
    (out / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=True), encoding="ascii")
    return index


@contextmanager
def _rules_may_be_broken() -> Iterator[None]:
    """pydicom writes what it is given, and nobody warns."""
    from pydicom import config

    before = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = before


def _written(case: Case, out: Path) -> dict[str, Any]:
    folder = out / case.name
    folder.mkdir()
    path, expected = case.build(folder, case.name)
    return {
        **case.row(),
        "path": os.path.relpath(path, out),
        "kind": "dir" if path.is_dir() and not path.is_symlink() else "file",
        "geometry": expected,
        "dicom": case.family.startswith("dicom"),
    }


def main() -> None:
    """Write or list the cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, help="new or empty folder")
    parser.add_argument("--only", nargs="*", default=(), help="names of cases or families")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    if given.list or not given.out:
        for case in registered().values():
            also = f"  (also: {','.join(case.also_ok)})" if case.also_ok else ""
            sys.stdout.write(f"{case.expect:7s} {case.family:22s} {case.name}{also}\n")
        return
    index = generate(given.out, given.only)
    counts = {e: sum(row["expect"] == e for row in index["cases"]) for e in ("reject", "accept", "warn")}
    sys.stdout.write(f"{index['count']} cases {counts} in {index['seconds']} s -> {given.out}/index.json\n")


if __name__ == "__main__":
    main()
