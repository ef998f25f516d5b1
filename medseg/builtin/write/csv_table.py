"""All measurements as one tidy table: a row per number."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medseg.prediction import Measured, Result
from medseg.steps import Writer

__all__ = ["Csv"]

COLUMNS = ("case", "label", "object", "quantity", "value", "unit", "low", "high", "flag")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP, "CSV Injection"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Csv(Writer):
    """`measurements.csv`: case, label, object, quantity, value, unit, low, high, flag.

    UTF-8 with line feeds. Numbers are written so that reading them gives the same number; a value that cannot be
    said is an empty cell. `low` and `high` bound the value where an interval is known. A text that a spreadsheet
    could take for a formula begins with an apostrophe.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the table; without measurements it holds its header only."""
        path = folder / "measurements.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows(_row(result.case_id, measured) for measured in result.measurements)
        return [path]


def _row(case: str, measured: Measured) -> list[str]:
    low, high = measured.interval if measured.interval is not None else (None, None)
    cells = (
        case,
        measured.label,
        measured.object,
        measured.quantity,
        measured.value,
        measured.unit,
        low,
        high,
        measured.flag,
    )
    return [_cell(cell) for cell in cells]


def _cell(value: float | str | None) -> str:
    """A cell's text: shortest that reads back to the same number; never a formula."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(value) else value
    return str(int(value)) if isinstance(value, int | np.integer) else repr(float(value))
