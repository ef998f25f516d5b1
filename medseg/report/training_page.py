"""The page of a training: one HTML file that needs nothing else, with curves, scores and the worst cases.

Names of cases and labels come from files: everything but the pictures is escaped, and the page forbids
itself to load or run anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.report.case_scores import (
    DICE,
    CaseScores,
    LabelStatistics,
    label_statistics,
    metrics_of,
    worst_first,
)
from medseg.report.charts import Picture
from medseg.report.curves import FoldCurve, draw_curves, draw_label_curves
from medseg.report.page import filled_in
from medseg.report.strips import draw_strips
from medseg.report.worst_case import WorstCase, draw_worst_case
from medseg.segmentation import LabelTable

__all__ = ["CaseScores", "FoldCurve", "TrainingReport", "WorstCase", "write_training_page"]

TEMPLATE = "training_page.html.j2"
MOST_COLUMNS = 8  # labels with columns of their own in the table of cases; of more, only means
NOTHING = "\u2013"


@dataclass(frozen=True)
class TrainingReport:
    """What the page says of a training.

    `facts` are pairs of what and which ("device", "cpu"); `cases` are held-out cases of all folds; `worst`
    is gone through once, so that it may be a generator that reads one case at a time; `chosen` says which
    post-processing was chosen and why, `notes` what else must be known: a paragraph each.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    labels: LabelTable
    curves: Sequence[FoldCurve] = ()
    cases: Sequence[CaseScores] = ()
    worst: Iterable[WorstCase] = ()
    chosen: Sequence[str] = ()
    notes: Sequence[str] = ()


def write_training_page(report: TrainingReport, path: Path) -> None:
    """Write the page as HTML in UTF-8, with its pictures inside; the name appears when it is complete."""
    text = filled_in(TEMPLATE, **_content(report))
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _content(report: TrainingReport) -> dict[str, Any]:
    """What the template fills in: words, and pictures drawn."""
    folds = [curve.name for curve in report.curves]
    names = [label.name for label in report.labels]
    return {
        "report": report,
        "curves": draw_curves(report.curves),
        "label_curves": draw_label_curves(report.curves, report.labels),
        "folds": [_fold_row(curve) for curve in report.curves],
        "statistics": [_statistics_row(row) for row in label_statistics(report.cases, names)],
        "strips": draw_strips(report.cases, report.labels, folds),
        "table": _case_table(report),
        "worst": [_drawn(worst) for worst in report.worst],
    }


def _fold_row(curve: FoldCurve) -> tuple[str, ...]:
    """Name, epochs, last loss, highest mean Dice with its epoch, last mean Dice."""
    best = curve.best("dice_mean")
    return (
        curve.name,
        str(len(curve.rows)),
        _said(curve.last("loss"), 4),
        NOTHING if best is None else f"{best[0]:.3f} (epoch {best[1]:.0f})",
        _said(curve.last("dice_mean")),
    )


def _statistics_row(row: LabelStatistics) -> tuple[str, ...]:
    places = 2 if row.unit else 3
    numbers = (row.mean, row.sd, row.median, row.lowest, row.highest)
    return (
        _titled(row.metric, row.unit),
        row.label,
        *(_said(number, places) for number in numbers),
        f"{row.n} of {row.cases}",
    )


@dataclass(frozen=True)
class _Table:
    """Cases in rows: above each group of columns its metric, above each column its label."""

    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    """Case, fold, and for each column what is said and the flag beneath it."""


def _case_table(report: TrainingReport) -> _Table:
    """Every case from the worst on: of each metric the mean and, where there are few, every label."""
    names = [label.name for label in report.labels]
    each = names if len(names) <= MOST_COLUMNS else []
    means = ("mean",) if len(names) != 1 else ()  # that of one label is its own
    heads = (*means, *each)
    units: dict[str, list[str]] = {}
    for metric, unit in metrics_of(report.cases):
        units.setdefault(metric, []).append(unit)
    metrics = sorted(units, key=lambda metric: metric != DICE)  # the one that orders the rows comes first
    rows = []
    for case in worst_first(report.cases):
        cells: list[tuple[str, str]] = []
        for metric in metrics:
            places = 2 if any(units[metric]) else 3
            cells += [(_said(case.mean(metric), places), "") for _ in means]
            cells += [_cell(case, metric, name, places) for name in each]
        rows.append((case.case, case.fold, tuple(cells)))
    groups = tuple(
        (_titled(metric, " or ".join(filter(None, units[metric]))), len(heads)) for metric in metrics
    )
    return _Table(groups, heads * len(metrics), tuple(rows))


def _cell(case: CaseScores, metric: str, label: str, places: int) -> tuple[str, str]:
    """A label's number and why it must be read with care."""
    row = case.row(metric, label)
    if row is None:
        return NOTHING, ""
    if isinstance(row.value, str):
        return row.value, row.flag
    return _said(case.value(metric, label), places), row.flag


def _drawn(worst: WorstCase) -> tuple[str, str, str, tuple[Picture, ...]]:
    """Case, fold, Dice of its labels in words, and its pictures."""
    dice = "; ".join(f"{label} {_said(value)}" for label, value in worst.dice.items())
    return worst.case, worst.fold, dice, draw_worst_case(worst)


def _titled(metric: str, unit: str) -> str:
    """A metric as a heading: known ones as people write them."""
    name = {"dice": "Dice", "hd95": "HD95"}.get(metric, metric)
    return f"{name} ({unit})" if unit else name


def _said(value: float | None, places: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{places}f}"
