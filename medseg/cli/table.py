"""Tables on a terminal, and the same columns as plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

import click

__all__ = ["print_table"]


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[int] = (),
    wrap: Collection[int] = (),
) -> None:
    """Print rows under a header on stdout; columns in `right` are flush right, those in `wrap` may break.

    On a terminal rich draws it; in a pipe it is plain aligned text, one row a line, nothing cut.
    """
    lines = [tuple(row) for row in rows]
    if sys.stdout.isatty():
        _draw(header, lines, right, wrap)
        return
    widths = [max(len(line[column]) for line in [tuple(header), *lines]) for column in range(len(header))]
    for line in [tuple(header), *lines]:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def _draw(
    header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int], wrap: Collection[int]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, title in enumerate(header):
        table.add_column(
            title, justify="right" if column in right else "left", no_wrap=column not in wrap, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
