"""Tables on a terminal, and the same columns as plain text elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

import click

__all__ = ["print_table"]

WRAPPED = 20  # characters that a column which may break keeps at least
GAP = 3  # characters rich puts between columns


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[int] = (),
    wrap: Collection[int] = (),
) -> None:
    """Print rows under a header on stdout; columns in `right` are flush right, those in `wrap` may break.

    On a terminal rich draws it, if it is wide enough; else it is plain aligned text, one row a line. Nothing
    is ever cut.
    """
    lines = [tuple(row) for row in rows]
    widths = [max(len(line[column]) for line in [tuple(header), *lines]) for column in range(len(header))]
    needed = [min(width, WRAPPED) if column in wrap else width for column, width in enumerate(widths)]
    if sys.stdout.isatty() and sum(needed) + GAP * len(header) <= shutil.get_terminal_size().columns:
        _draw(header, lines, right, dict(enumerate(needed)))
        return
    for line in [tuple(header), *lines]:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def _draw(
    header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int], needed: Mapping[int, int]
) -> None:
    """Let rich draw it; no column becomes narrower than what it needs, so that nothing is cut."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, title in enumerate(header):
        table.add_column(
            title, justify="right" if column in right else "left", min_width=needed[column], overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
