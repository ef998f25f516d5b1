"""The tables of an evaluation and what they were made of, as files: `cases.csv`, `summary.csv`, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medseg.errors import UsageError
from medseg.evaluation import Evaluated, Evaluation
from medseg.evaluation.summary import Statistics
from medseg.io.atomic import staged_folder
from medseg.io.regular_file import printable
from medseg.report.csv_line import csv_line
from medseg.run.output_folder import record_in
from medseg.run.provenance import sha256_of

__all__ = ["document", "require_free", "write_evaluation"]

CASES, SUMMARY, RECORD = "cases.csv", "summary.csv", "evaluation.json"
COLUMNS = ("case", "label", "metric", "value", "unit", "flag", "object")
STATISTICS = tuple(field.name for field in fields(Statistics))


def document(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain data; holds ids of cases and checksums, no path."""
    return {
        "medseg": {"version": version("medseg")},
        "notice": "Research use only. Not for diagnosis.",
        "metrics": [dict(stage.written) for stage in evaluation.metrics],
        "plugins": {stage.distribution: stage.version for stage in evaluation.metrics},
        "only": None if evaluation.labels is None else list(evaluation.labels),
        "summary": [asdict(row) for row in evaluation.summary],
        "cases": [_case(case) for case in evaluation.cases],
    }


def _case(case: Evaluated) -> dict[str, Any]:
    return {
        "case": case.case,
        "prediction_sha256": list(case.prediction_sha256),
        "reference_sha256": list(case.reference_sha256),
        "notes": list(case.notes),
        "results": [
            {
                "label": row.label,
                "metric": row.quantity,
                "value": row.value,
                "unit": row.unit,
                "flag": row.flag,
                **({} if row.object is None else {"object": row.object}),
                **({} if row.interval is None else {"interval": list(row.interval)}),
            }
            for row in case.rows
        ],
    }


def write_evaluation(evaluation: Evaluation, out: Path, *, overwrite: bool) -> None:
    """Write the tables into a folder that appears complete or not at all.

    Raises UsageError where the folder exists, unless `overwrite` is set and it holds an evaluation and
    nothing else.
    """
    with staged_folder(out, overwrite=overwrite, require_ours=_require_ours) as folder:
        with (folder / CASES).open("w", encoding="utf-8", newline="") as file:
            file.write(csv_line(COLUMNS))
            for case in evaluation.cases:
                for row in case.rows:
                    cells = (row.label, row.quantity, row.value, row.unit, row.flag, row.object)
                    file.write(csv_line((case.case, *cells)))
        with (folder / SUMMARY).open("w", encoding="utf-8", newline="") as file:
            file.write(csv_line(STATISTICS))
            file.writelines(csv_line(asdict(row).values()) for row in evaluation.summary)
        outputs = {name: sha256_of(folder / name) for name in (CASES, SUMMARY)}
        text = json.dumps({**document(evaluation), "outputs": outputs}, indent=2, ensure_ascii=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def require_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `write_evaluation` would refuse, before anything is read; leaves no trace."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise UsageError(f"{printable(out)} exists and is not a folder; choose another name")
    if next(out.iterdir(), None) is not None:
        if not overwrite:
            raise UsageError(f"{printable(out)} exists; choose another folder or give --overwrite")
        _require_ours(out)


def _require_ours(folder: Path) -> None:
    """Raise UsageError naming the first thing in a folder that no evaluation wrote."""
    record = record_in(folder / RECORD)
    if not isinstance(record.get("medseg"), dict) or not isinstance(record.get("outputs"), dict):
        raise UsageError(
            f"{printable(folder)} was not written by `medseg evaluate` (no {RECORD} of it); "
            "choose another folder"
        )
    for path in sorted(folder.iterdir()):
        if path.name not in (CASES, SUMMARY, RECORD) or not path.is_file():
            raise UsageError(
                f"{printable(path)} was not written by medseg, so its folder is not replaced; move it away"
            )
