"""`medseg evaluate`: masks against references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from medseg.evaluation import Evaluated, Evaluation, Statistics

__all__ = ["command"]

MOST_NOTED = 20  # cases whose notes are printed; all are in evaluation.json


@click.command("evaluate")
@click.argument("prediction", metavar="PRED")
@click.argument("reference", metavar="REF")
@click.option(
    "-o", "--out", metavar="FOLDER", help="Folder for tables and pictures; by default tables are printed."
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
@click.option(
    "--objects",
    metavar="NAME",
    help="Values of label maps are ids of objects, not labels; the objects are called NAME.",
)
@click.option(
    "--subjects",
    metavar="FILE",
    help="Whose each case is, a CSV table with columns case and subject: intervals are then over subjects.",
)
@click.option(
    "--images",
    metavar="PATH",
    help="Images of the cases, by their names, to draw the worst cases on; only with -o.",
)
@options.pixel_size
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
    objects: str | None,
    subjects: str | None,
    images: str | None,
    pixel_size: float | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the masks in PRED with those in REF: a file each, or folders of files of the same names.

    PRED may be what `segment` or `cohort` wrote. Masks are compared on the voxels of the reference, label by
    label. With -o, a table per case, a summary with 95 % intervals, charts, the worst cases drawn and what
    was compared are written into FOLDER.
    """
    for path in (prediction, reference, subjects, images):
        if path is not None:
            require_existing(path)
    if images is not None and out is None:
        raise UsageError("--images: they are drawn into a folder; give it with -o")

    from medseg.evaluation import evaluate_files, match_files, metrics_named
    from medseg.evaluation.pairs import match_images
    from medseg.evaluation.record import document, require_free, write_evaluation
    from medseg.evaluation.subjects import read_subjects
    from medseg.evaluation.worst import worst_cases

    steps = metrics_named(metrics)
    if out is not None:
        require_free(Path(out), overwrite=overwrite)
    pairs = match_files(prediction, reference)
    persons = None if subjects is None else read_subjects(Path(subjects), [pair.case for pair in pairs])
    seen = {} if images is None else match_images(images, pairs)

    def watcher(case: str, done: int, total: int) -> None:
        if not quiet and total > 1:
            click.echo(f"{done}/{total} {case}", err=True)

    done = evaluate_files(
        pairs,
        steps,
        labels=labels,
        subjects=persons,
        pixel_size=pixel_size,
        objects=objects,
        watcher=watcher,
    )
    if out is not None:
        worst = worst_cases(done, pairs, images=seen)
        write_evaluation(done, Path(out), overwrite=overwrite, worst=worst)
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
        click.echo(f"Tables and pictures are in {out}. Research use only.")


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
    """One line for each metric and label; a last column where a metric is a number of all cases together."""
    from medseg.cli.table import print_table

    header = ["metric", "label", "n", "mean", "95 %", "sd", "median", "min", "max"]
    pooled = any(row.pooled is not None for row in summary)
    lines = []
    for row in summary:
        numbers = (row.sd, row.median, row.min, row.max, *([row.pooled] if pooled else []))
        cells = (_cell(number, row.unit) for number in numbers)
        found = f"{row.n} of {row.cases}"
        lines.append((row.metric, row.label, found, _cell(row.mean, row.unit), _interval(row), *cells))
    print_table((*header, *(["pooled"] if pooled else [])), lines, right=range(2, len(header) + pooled))


def _interval(row: Statistics) -> str:
    """That of the mean, without its unit; a dash where there is none."""
    if row.mean_low is None or row.mean_high is None:
        return "-"
    low, high = (f"{end:,.2f}" if row.unit else f"{end:,.3f}" for end in (row.mean_low, row.mean_high))
    return f"{low} to {high}"


def _cell(value: float | str | None, unit: str) -> str:
    """A number as a table shows it: three places, two where it has a unit; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int):  # a count
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f} {unit}" if unit else f"{value:,.3f}"
    return str(value)
