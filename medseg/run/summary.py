"""The tables of a cohort: every measurement, one row per case, and what it was made with.

`cohort.csv` is the cases' `measurements.csv` one after another; `summary.csv` has a row for every case, the
failed ones with their reason. No path is in any of them.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medseg.io.atomic import staged_file
from medseg.report.csv_line import MEASURED_COLUMNS, csv_line
from medseg.run.provenance import sha256_of
from medseg.segmentation import LabelTable

__all__ = ["RECORD", "Outcome", "Status", "counted", "write_record", "write_tables"]

MEASUREMENTS, COHORT, SUMMARY, RECORD = "measurements.csv", "cohort.csv", "summary.csv", "cohort.json"
Status = Literal["ok", "failed", "not run"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case. `kept`: an earlier run had done it.

    `reason` is for files and holds no path; `told` is for the terminal.
    """

    case: str
    status: Status
    kept: bool = False
    seconds: float | None = None
    reason: str = ""
    told: str = ""


def counted(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many cases there are, and how many of each status; `kept` ones are `ok` too."""
    cases = list(outcomes)
    found = Counter(outcome.status for outcome in cases)
    return {
        "cases": len(cases),
        "ok": found["ok"],
        "failed": found["failed"],
        "not_run": found["not run"],
        "kept": sum(outcome.kept for outcome in cases),
    }


def write_tables(
    out: Path, outcomes: Sequence[Outcome], labels: LabelTable, record: Mapping[str, Any]
) -> None:
    """Write `cohort.csv`, `summary.csv` and, last, the record that lists them, each whole or not at all."""
    done = [outcome.case for outcome in outcomes if outcome.status == "ok"]
    with (
        staged_file(out / COHORT, overwrite=True) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write(csv_line(MEASURED_COLUMNS))
        for case in done:
            file.writelines(_body(out / case / MEASUREMENTS))
    with (
        staged_file(out / SUMMARY, overwrite=True) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write(csv_line(["case", "status", "reason", "seconds", *_columns(labels), "flags"]))
        file.writelines(_summary_line(out, outcome, labels) for outcome in outcomes)
    counts = counted(outcomes)
    outputs = {name: sha256_of(out / name) for name in (COHORT, SUMMARY)}
    write_record(out, {**record, "complete": counts["not_run"] == 0, "counts": counts, "outputs": outputs})


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    """Write `cohort.json`."""
    with staged_file(out / RECORD, overwrite=True) as path:
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _body(table: Path) -> Iterator[str]:
    """The lines of a table below its header, line breaks within cells as they are."""
    with table.open(encoding="utf-8", newline="") as file:
        next(file, None)
        yield from file


def _columns(labels: LabelTable) -> list[str]:
    return [f"{label.name} mL" for label in labels]


def _summary_line(out: Path, outcome: Outcome, labels: LabelTable) -> str:
    volumes: dict[str, dict[str, str]] = {}
    if outcome.status == "ok":
        with (out / outcome.case / MEASUREMENTS).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["quantity"] in ("volume", "area") and not row["object"]:
                    volumes.setdefault(row["label"], row)
    rows = [volumes.get(_as_read(label.name), {}) for label in labels]
    sizes = [float(row["value"]) if row.get("unit") == "mL" and row["value"] else None for row in rows]
    flags = [f"{row['label']}: {row['flag']}" for row in rows if row.get("flag")]
    seconds = None if outcome.seconds is None else round(outcome.seconds, 1)
    return csv_line([outcome.case, outcome.status, outcome.reason, seconds, *sizes, "; ".join(flags)])


def _as_read(name: str) -> str:
    """A label's name as it stands in a table: one like a formula has an apostrophe there."""
    return next(csv.reader([csv_line([name])]))[0]
