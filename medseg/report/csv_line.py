"""Lines of CSV files that every reader takes for the same, and no spreadsheet for a program."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from medseg.prediction import Measured

__all__ = ["MEASURED_COLUMNS", "csv_line", "measured_line"]

MEASURED_COLUMNS = ("case", "label", "object", "quantity", "value", "unit", "low", "high", "flag", "note")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP, "CSV Injection"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_line(cells: Iterable[float | str | None]) -> str:
    """One line and its line feed; None is an empty cell, a text like a formula begins with an apostrophe."""
    return ",".join(_quoted(_cell(cell)) for cell in cells) + "\n"


def measured_line(case: str, measured: Measured, note: str = "") -> str:
    """A measurement under `MEASURED_COLUMNS`; `note` says what a policy made of the image."""
    low, high = measured.interval if measured.interval is not None else (None, None)
    return csv_line(
        (
            case,
            measured.label,
            measured.object,
            measured.quantity,
            measured.value,
            measured.unit,
            low,
            high,
            measured.flag,
            note,
        )
    )


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
