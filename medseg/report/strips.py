"""Every case's score as a point on its label's strip, over a box of the quartiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.report.case_scores import DICE, CaseScores, LabelStatistics, label_statistics
from medseg.report.charts import (
    INK,
    MUTED,
    TEXT,
    WIDTH,
    FoldLegend,
    FoldStyle,
    Picture,
    chart_axes,
    chart_figure,
    fold_styles,
    picture_of,
)
from medseg.report.lettering import ellipsis, plain, text_width, write_text
from medseg.segmentation import LabelTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_strips"]

STRIP = 64  # height of one
TOP, BELOW, RIGHT = 24, 92, 330
WIDEST_NAME = 420
MOST_STRIPS = 40
BOX = 0.62  # of a strip's height
SPREAD = 0.2  # how far a point may lie from the middle of its strip, in strips
GOLDEN = 0.6180339887498949  # steps of this share spread points evenly, however many


def draw_strips(
    cases: Sequence[CaseScores],
    labels: LabelTable | Iterable[str],
    folds: Iterable[str],
    *,
    metric: str = DICE,
    unit: str = "",
    error: bool = False,
) -> Picture | None:
    """One strip a label, from 0 to 1 or as far as the values reach; None where no case has one.

    `folds` gives each fold the look that it has in other charts; of a single fold without a name there is no
    legend. Of more than 40 labels, those with the lowest median; of an `error`, of which less is better, and
    of a metric with a unit, those with the highest, and the axis ends where the values do.
    """
    error = error or bool(unit)
    asked = [name if isinstance(name, str) else name.name for name in labels]
    rows = [
        row for row in label_statistics(cases, asked) if (row.metric, row.unit) == (metric, unit) and row.n
    ]
    if not rows:
        return None
    shown = sorted(rows, key=lambda row: row.median or 0.0, reverse=error)[:MOST_STRIPS]
    shown = [row for row in rows if row in shown]
    present = {case.fold for case in cases}
    styles = {n: s for n, s in fold_styles([*folds, *sorted(present)]).items() if n in present}
    names = [ellipsis(plain(row.label), WIDEST_NAME, TEXT) for row in shown]
    left = 40 + max(text_width(name, TEXT) for name in names)
    rect = (left, TOP, WIDTH - left - RIGHT, STRIP * len(shown))
    legend = FoldLegend(tuple(styles.values()) if set(styles) != {""} else (), rect[2], points=True)
    figure = chart_figure(TOP + rect[3] + BELOW + legend.height)
    axes = chart_axes(figure, rect)
    for number, (row, name) in enumerate(zip(shown, names, strict=True)):
        _draw_strip(axes, number, row, cases, styles)
        middle = TOP + (number + 0.5) * STRIP
        write_text(figure, (left - 18, middle), name, size=TEXT, color=INK, ha="right")
        words = f"median {_number(row.median, unit)}, n = {row.n}"
        write_text(figure, (left + rect[2] + 18, middle), words, size=TEXT, color=MUTED)
    axes.set(xlim=_span(shown, shares=not error), ylim=(len(shown) - 0.5, -0.5), yticks=[])
    axes.grid(visible=False, axis="y")
    named = metric.capitalize() if metric == DICE else metric
    title = f"{named}, {unit}" if unit else named
    write_text(figure, (left + rect[2] / 2, TOP + rect[3] + 58), title, size=TEXT, color=INK, ha="center")
    legend.draw(figure, (left, TOP + rect[3] + BELOW - 8))
    said = "; ".join(
        f"{row.label} median {_number(row.median, unit)}, "
        f"{'highest' if error else 'lowest'} {_number(row.highest if error else row.lowest, unit)}"
        for row in shown
    )
    left_out = len(rows) - len(shown)
    caption = "A point is a case; the box holds the middle half of them, its line is the median."
    if left_out:
        caption += (
            f" The {len(shown)} labels of the {'highest' if error else 'lowest'} median; "
            f"{left_out} more are in the table only."
        )
    return picture_of(figure, f"{named} of each case, a strip for each label: {said}.", caption)


def _number(value: float | None, unit: str) -> str:
    """A number as the tables show it."""
    return f"{value or 0.0:.2f} {unit}" if unit else f"{value or 0.0:.3f}"


def _span(rows: Sequence[LabelStatistics], *, shares: bool) -> tuple[float, float]:
    """From where to where: 0 to 1 for shares, else what the values reach, from 0 on where none is below."""
    values = [value for row in rows for value in row.values]
    low, high = min(0.0, *values), max(values)
    if low == 0 and high <= (1 if shares else 0):
        return -0.02, 1.02
    room = 0.03 * (high - low) or 1.0
    return low - room, high + room


def _draw_strip(
    axes: Axes,
    number: int,
    row: LabelStatistics,
    cases: Sequence[CaseScores],
    styles: Mapping[str, FoldStyle],
) -> None:
    """The points of a label, and the quartiles' box where there is more than one."""
    from matplotlib.patches import Rectangle

    if row.n > 1:
        low, middle, high = (float(v) for v in np.percentile(row.values, (25, 50, 75)))
        box: dict[str, Any] = {"facecolor": "#eef1f5", "edgecolor": MUTED, "linewidth": 1.5, "zorder": 1.5}
        axes.add_patch(Rectangle((low, number - BOX / 2), high - low, BOX, **box))
        axes.plot([middle] * 2, [number - BOX / 2, number + BOX / 2], color=INK, linewidth=3, zorder=1.6)
    for fold, style in styles.items():
        points = [
            (value, number + ((at * GOLDEN) % 1 - 0.5) * 2 * SPREAD)
            for at, case in enumerate(cases)
            if case.fold == fold and (value := case.value(row.metric, row.label)) is not None
        ]
        axes.plot(
            [value for value, _ in points],
            [height for _, height in points],
            linestyle="none",
            marker=style.marker,
            markersize=9,
            color=style.colour,
            alpha=0.85,
            markeredgecolor="white",
            markeredgewidth=0.8,
            zorder=3,
            clip_on=False,
        )
