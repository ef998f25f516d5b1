"""Cohorts of balls with known volumes, and what must be true of a cohort's folder whatever happened to it."""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np

FAKES = Path(__file__).parent / "plugin" / "fake"
TABLES = {"cohort.csv", "summary.csv", "cohort.json"}
TIMES = {"seconds", "started", "steps"}
START = "from medseg.cli import main; main()"


def ball(path: Path, *, radius_mm: float, value: int = 100) -> Path:
    """A NIfTI image of 40 mm side with a ball in its middle."""
    index = np.indices((20, 20, 20)).transpose(1, 2, 3, 0) - 9.5
    inside = np.linalg.norm(index * 2.0, axis=-1) <= radius_mm
    nib.save(nib.Nifti1Image(np.where(inside, value, 0).astype(np.int16), np.diag([2.0, 2, 2, 1])), path)
    return path


def balls(folder: Path, count: int) -> Path:
    """A folder of balls of 8, 8.5, 9 … mm radius: case_00, case_01, …"""
    folder.mkdir()
    for number in range(count):
        ball(folder / f"case_{number:02d}.nii.gz", radius_mm=8 + 0.5 * number)
    return folder


def pipeline(
    path: Path, *, writers: str = "[nifti, csv, json]", segment: str = "{threshold: {above: 50}}"
) -> Path:
    """A pipeline file that finds balls."""
    path.write_text(f"segment: {segment}\nwrite: {writers}\n")
    return path


def summary(out: Path) -> dict[str, dict[str, str]]:
    """The rows of summary.csv by case; each case has one."""
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["case"] for row in rows}) == len(rows)
    return {row["case"]: row for row in rows}


def audit(out: Path, cases: Sequence[str]) -> None:
    """Every case is complete and as its record says, and there is nothing else."""
    assert {path.name for path in out.iterdir()} == {*cases, *TABLES}
    for case in cases:
        record = json.loads((out / case / "run.json").read_text())
        assert record["case"] == case
        present = {path.name for path in (out / case).iterdir()}
        assert present == {*record["outputs"], "run.json"}
        for name, digest in record["outputs"].items():
            assert hashlib.sha256((out / case / name).read_bytes()).hexdigest() == digest


def content(out: Path) -> dict[str, Any]:
    """All that is in a cohort's folder, without the times and without cohort.json."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name == "run.json":
            record = json.loads(path.read_text())
            found[name] = {key: _steady(value) for key, value in record.items() if key not in TIMES}
        elif name == "summary.csv":
            found[name] = [
                {key: value for key, value in row.items() if key != "seconds"}
                for row in summary(out).values()
            ]
        elif path.is_file() and name != "cohort.json":
            found[name] = path.read_bytes()
    return found


def _steady(value: Any) -> Any:
    """A part of a record without memory and times, which no two runs have alike."""
    if not isinstance(value, dict):
        return value
    return {key: said for key, said in value.items() if not key.endswith("_mb") and key != "seconds"}


def start(*arguments: object, plugins: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`medseg cohort` in a process of its own."""
    paths = os.pathsep.join(str(FAKES / name) for name in plugins)
    return subprocess.Popen(
        [sys.executable, "-c", START, "cohort", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )


def killed_again_and_again(
    arguments: Sequence[object], *, kills: int, seed: int, ended: int = 2, within_s: float = 0.2
) -> int:
    """Resume a cohort and kill it, so many times; returns how often the kill came before its end.

    Each run is killed at a random moment up to `within_s` after the end of one of its first `ended` cases.
    """
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    early = 0
    for _ in range(kills):
        process = start(*arguments, "--resume")
        assert process.stderr is not None
        lines = (line for line in process.stderr if " ok " in line)
        for _ in range(chance.randint(1, ended)):
            next(lines, None)
        time.sleep(chance.uniform(0, within_s))
        early += process.poll() is None
        process.kill()
        process.wait()
        process.stderr.close()
    return early
