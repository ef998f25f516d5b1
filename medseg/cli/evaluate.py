"""`medseg evaluate`: masks against references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing

if TYPE_CHECKING:
    from medseg.evaluation import Evaluated, Evaluation, Statistics

__all__ = ["command"]

MOST_NOTED = 20  # cases whose notes are printed; all are in evaluation.json


@click.command("evaluate")
@click.argument("prediction", metavar="PRED")
@click.argument("reference", metavar="REF")
@click.option(
    "-o", "--out", metavar="FOLDER", help="Folder for the tables; by default they are printed only."
)
@click.option(
    "--metrics",
    default="dice, hd95",
    show_default=True,
    metavar="NAME,NAME",
    help="What to compare by; `medseg plugins list` has all.",
)
@click.option(
    "--labels",
    metavar="NAME,NAME",
    callback=options.names,
    help="Compare these labels only; by default all that either has.",
)
@options.overwrite
@options.as_json
@options.quiet
@options.verbose
def command(
    prediction: str,
    reference: str,
    out: str | None,
    metrics: str,
    labels: tuple[str, ...] | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the masks in PRED with those in REF: a file each, or folders of files of the same names.

    PRED may be what `segment` or `cohort` wrote. Masks are compared on the voxels of the reference, label by
    label. With -o, a table per case, a summary and what was compared are written into FOLDER.
    """
    require_existing(prediction)
    require_existing(reference)

    from medseg.evaluation import evaluate_files, match_files, metrics_named
    from medseg.evaluation.record import document, require_free, write_evaluation

    steps = metrics_named(metrics)
    if out is not None:
        require_free(Path(out), overwrite=overwrite)
    pairs = match_files(prediction, reference)

    def watcher(case: str, done: int, total: int) -> None:
        if not quiet and total > 1:
            click.echo(f"{done}/{total} {case}", err=True)

    done = evaluate_files(pairs, steps, labels=labels, watcher=watcher)
    if out is not None:
        write_evaluation(done, Path(out), overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(document(done), indent=2, ensure_ascii=False))
    elif not quiet:
        _print(done, out)


def _print(done: Evaluation, out: str | None) -> None:
    """The table, what was decided, and where the files are."""
    if len(done.cases) == 1:
        _print_case(done.cases[0], done.summary)
    else:
        _print_summary(done.summary)
    noted = [case for case in done.cases if case.told]
    for case in noted[:MOST_NOTED]:
        for note in case.told:
            click.echo(f"note: {note}" if len(done.cases) == 1 else f"{case.case}: note: {note}")
    if len(noted) > MOST_NOTED:
        click.echo(f"{len(noted) - MOST_NOTED} more cases have notes")
    if out is not None:
        click.echo(f"The tables are in {out}. Research use only.")


def _print_case(case: Evaluated, summary: tuple[Statistics, ...]) -> None:
    """One line for each label, one column for each metric."""
    from medseg.cli.table import print_table

    rows = [row for row in case.rows if row.object is None]
    metrics = list(dict.fromkeys(row.quantity for row in rows))
    cells: dict[str, dict[str, str]] = {}
    flags: dict[str, dict[str, None]] = {}
    for row in rows:
        cells.setdefault(row.label, {})[row.quantity] = _cell(row.value, row.unit)
        flags.setdefault(row.label, {})
        if row.flag:
            flags[row.label][row.flag] = None
    lines = [
        (label, *(found.get(metric, "") for metric in metrics), ", ".join(flags[label]))
        for label, found in cells.items()
    ]
    means = {each.metric: _cell(each.mean, each.unit) for each in summary if each.label not in cells}
    lines.append(("(mean of labels)", *(means.get(metric, "") for metric in metrics), ""))
    print_table(
        ("label", *metrics, "note"), lines, right=range(1, 1 + len(metrics)), wrap=(1 + len(metrics),)
    )


def _print_summary(summary: tuple[Statistics, ...]) -> None:
    """One line for each metric and label."""
    from medseg.cli.table import print_table

    header = ("metric", "label", "n", "mean", "sd", "median", "min", "max")
    lines = []
    for row in summary:
        numbers = (row.mean, row.sd, row.median, row.min, row.max)
        cells = (_cell(number, row.unit) for number in numbers)
        lines.append((row.metric, row.label, f"{row.n} of {row.cases}", *cells))
    print_table(header, lines, right=range(2, len(header)))


def _cell(value: float | str | None, unit: str) -> str:
    """A number as a table shows it: three places, two where it has a unit; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int | float):
        return f"{value:,.2f} {unit}" if unit else f"{value:,.3f}"
    return str(value)
