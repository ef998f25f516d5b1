"""Which cases are of one person, so that chance is judged by persons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from medseg.errors import InputError
from medseg.io.csv_rows import read_rows
from medseg.io.regular_file import printable

__all__ = ["read_subjects"]

COLUMNS = ("case", "subject")


def read_subjects(path: Path, cases: Iterable[str]) -> dict[str, str]:
    """The subject of each of the cases, from a CSV table with columns `case` and `subject`.

    Other columns, and rows of other cases, are ignored. Raises InputError where a case has no subject or two.
    """
    columns, rows = read_rows(path)
    for name in COLUMNS:
        if name not in columns:
            raise InputError(f"{printable(path)}: has no column {name!r}; it needs `case` and `subject`")
    found: dict[str, str] = {}
    for line, row in rows:
        case, subject = row["case"], row["subject"]
        if not subject:
            raise InputError(f"{printable(path)}, line {line}: the subject is empty")
        if found.setdefault(case, subject) != subject:
            raise InputError(f"{printable(path)}, line {line}: case {case!r} has another subject above")
    wanted = list(cases)
    without = [case for case in wanted if case not in found]
    if without:
        raise InputError(
            f"{printable(path)}: has no subject for {len(without)} of {len(wanted)} cases, "
            f"the first is {without[0]!r}; add them"
        )
    return {case: found[case] for case in wanted}
