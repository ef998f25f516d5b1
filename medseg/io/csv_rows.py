"""Rows of a CSV file that somebody wrote by hand or in a spreadsheet."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from medseg.errors import InputError
from medseg.io.regular_file import open_regular, printable

__all__ = ["Row", "read_rows"]

MOST_BYTES = 64 << 20
Row = tuple[int, dict[str, str]]
"""The number of a line, and its cells by column."""


def read_rows(path: Path, *, called: Callable[[str], str] = str) -> tuple[list[str], list[Row]]:
    """Columns in order, and the rows that are not blank; comma, semicolon or tab between cells.

    `called` gives the name of a column from what is written. Raises InputError of one line, with the line's
    number, for a file that is none or whose rows do not fit its columns.
    """
    with open_regular(path) as file:
        if file.size > MOST_BYTES:
            raise InputError(f"{printable(path)}: {file.size >> 20} MB are too many for a list of cases")
        content = file.readall() or b""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(f"{printable(path)}: is not a text file in UTF-8; save it as such") from problem
    head = text.lstrip().partition("\n")[0]
    reader = csv.reader(text.splitlines(keepends=True), delimiter=max(",;\t", key=head.count), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend(
            (reader.line_num, [cell.strip() for cell in cells]) for cells in reader if "".join(cells).strip()
        )
    except csv.Error as problem:
        raise InputError(f"{printable(path)}, line {reader.line_num}: {problem}") from problem
    if not rows:
        raise InputError(f"{printable(path)}: is empty; its first line must name the columns")
    (_, written), *rest = rows
    columns = [called(name) for name in written]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{printable(path)}: column {twice[0]!r} is there twice")
    for line, cells in rest:
        if len(cells) != len(columns):
            raise InputError(
                f"{printable(path)}, line {line}: has {len(cells)} cells, the header has {len(columns)}"
            )
    return columns, [(line, dict(zip(columns, cells, strict=True))) for line, cells in rest]
