"""Which cases are of one person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medseg.errors import InputError
from medseg.io.csv_rows import read_rows
from medseg.io.regular_file import printable
from medseg.training.dataset.case import Case
from medseg.training.dataset.description import Subjects

__all__ = ["with_subjects"]


def with_subjects(cases: Sequence[Case], subjects: Subjects) -> tuple[Case, ...]:
    """The cases with the subjects that a table or a pattern gives; raises InputError where one has none."""
    if subjects.table is not None:
        by_case = _in_table(subjects.table)
        without = [case.id for case in cases if case.id not in by_case]
        if without:
            raise InputError(
                f"{printable(subjects.table)}: has no subject for {len(without)} of {len(cases)} cases, "
                f"the first is {without[0]!r}; add them"
            )
        said = [(case, by_case[case.id]) for case in cases]
        return tuple(
            replace(case, subject=told["subject"], stratum=told.get("stratum", case.stratum))
            for case, told in said
        )
    if subjects.pattern is None:
        return tuple(cases)
    return tuple(replace(case, subject=_by_pattern(case.id, subjects.pattern)) for case in cases)


def _in_table(path: Path) -> dict[str, dict[str, str]]:
    """What is said of each case: its `subject` and, where there is such a column, its `stratum`."""
    columns, rows = read_rows(path)
    for name in ("case", "subject"):
        if name not in columns:
            raise InputError(f"{printable(path)}: has no column {name!r}; it needs `case` and `subject`")
    said: list[str] = [name for name in ("subject", "stratum") if name in columns]
    found: dict[str, dict[str, str]] = {}
    for line, row in rows:
        if not row["subject"]:
            raise InputError(f"{printable(path)}, line {line}: the subject is empty")
        told = {name: row[name] for name in said}
        above = found.setdefault(row["case"], told)
        if above != told:
            other = next(name for name in said if above[name] != told[name])
            raise InputError(
                f"{printable(path)}, line {line}: case {row['case']!r} has another {other} above"
            )
    return found


def _by_pattern(case_id: str, pattern: str) -> str:
    found = re.search(pattern, case_id)
    if found is None or not found[1]:
        raise InputError(
            f"case {case_id!r}: the pattern {pattern!r} finds no subject in it; correct the pattern, "
            "or give a table with `subjects: FILE.csv`"
        )
    return found[1]
