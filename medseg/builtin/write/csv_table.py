"""All measurements as one tidy table: a row per number."""

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

    UTF-8 with line feeds. Numbers are written so that reading them gives the same number; a value that cannot
    be said is an empty cell. `low` and `high` bound the value where an interval is known. A text that a
    spreadsheet could take for a formula begins with an apostrophe.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the table; without measurements it holds its header only."""
        path = folder / "measurements.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(COLUMNS) + "\n")
            file.writelines(_line(result.case_id, measured) for measured in result.measurements)
        return [path]


def _line(case: str, measured: Measured) -> str:
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
    return ",".join(_quoted(_cell(cell)) for cell in cells) + "\n"


def _quoted(text: str) -> str:
    """A cell as in RFC 4180: csv.writer leaves a lone carriage return bare, and readers end a row there."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _cell(value: float | str | None) -> str:
    """A cell's text: shortest that reads back to the same number; never a formula."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(value) else value
    return str(int(value)) if isinstance(value, int | np.integer) else repr(float(value))
