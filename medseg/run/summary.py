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

    `reason` is for files and holds no path; `told` is for the terminal. `notes` say what a policy decided.
    """

    case: str
    status: Status
    kept: bool = False
    seconds: float | None = None
    reason: str = ""
    told: str = ""
    notes: tuple[str, ...] = ()


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
        found = [_found(out, outcome, labels) for outcome in outcomes]
        columns = _columns(labels, found)
        named = [label.name for label in labels]
        names = [f"{named[place]} {unit}" for place, unit in columns]
        file.write(csv_line(["case", "status", "reason", "seconds", *names, "flags", "notes"]))
        lines = zip(outcomes, found, strict=True)
        file.writelines(_summary_line(outcome, labels, each, columns) for outcome, each in lines)
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


@dataclass(frozen=True)
class _Found:
    """What a case has of a label, by unit: its volume, or its area in a picture; and how many objects."""

    values: Mapping[str, float | str | None]
    flag: str = ""


def _found(out: Path, outcome: Outcome, labels: LabelTable) -> list[_Found]:
    """One for each label, in order; the volume where there is an area too."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    if outcome.status == "ok":
        with (out / outcome.case / MEASUREMENTS).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if not row["object"] and row["quantity"] in ("volume", "area", "objects"):
                    rows.setdefault((row["label"], row["quantity"]), row)
    return [_of_label(rows, _as_read(label.name)) for label in labels]


def _of_label(rows: Mapping[tuple[str, str], Mapping[str, str]], name: str) -> _Found:
    size = rows.get((name, "volume")) or rows.get((name, "area"))
    count = rows.get((name, "objects"))
    values: dict[str, float | str | None] = {}
    if size is not None and size["unit"]:
        values[size["unit"]] = float(size["value"]) if size["value"] else None
    if count is not None:
        values["objects"] = count["value"]
    return _Found(values, "" if size is None else size["flag"])


def _columns(labels: LabelTable, found: Sequence[Sequence[_Found]]) -> list[tuple[int, str]]:
    """A label's place and a unit for each column: mL, or what pictures were measured in, then objects."""
    columns = []
    for place in range(len(labels)):
        units = dict.fromkeys(unit for case in found for unit in case[place].values)
        columns += [(place, unit) for unit in sorted(units, key="objects".__eq__) or ("mL",)]
    return columns


def _summary_line(
    outcome: Outcome, labels: LabelTable, found: Sequence[_Found], columns: Sequence[tuple[int, str]]
) -> str:
    cells = [found[place].values.get(unit) for place, unit in columns]
    named = zip(labels, found, strict=True)
    flags = [f"{_as_read(label.name)}: {each.flag}" for label, each in named if each.flag]
    seconds = None if outcome.seconds is None else round(outcome.seconds, 1)
    known = [outcome.case, outcome.status, outcome.reason, seconds]
    return csv_line([*known, *cells, "; ".join(flags), "; ".join(outcome.notes)])


def _as_read(name: str) -> str:
    """A label's name as it stands in a table: one like a formula has an apostrophe there."""
    return next(csv.reader([csv_line([name])]))[0]
