"""How a training went: loss, validation and learning rate over epochs, a line for each fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medseg.report.charts import (
    INK,
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
from medseg.report.lettering import write_text
from medseg.segmentation import LabelTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FoldCurve", "draw_curves", "draw_label_curves"]

LEFT, RIGHT, BETWEEN = 96, 24, 104  # numbers of an axis stand left of it
TOP, BELOW = 52, 84  # the title above a frame, numbers and "epoch" below
COLUMNS = 3
FRAME = (WIDTH - LEFT - RIGHT - (COLUMNS - 1) * BETWEEN) / COLUMNS
TALL, LOW = 340.0, 220.0
MOST_MARKED = 40  # points of a line that get a marker each
MOST_LABELS = 24


@dataclass(frozen=True)
class FoldCurve:
    """The log of one fold, a row an epoch.

    Keys are `epoch`, `loss`, `rate`, and where the epoch ended with a validation `dice_mean` and
    "dice LABEL"; what lacks or is None is not drawn.
    """

    name: str
    rows: Sequence[Mapping[str, float | int | None]]

    def points(self, key: str) -> tuple[list[float], list[float]]:
        """Epochs and values of a column, where it has a number."""
        found = [
            (float(epoch), float(value))
            for row in self.rows
            if (value := row.get(key)) is not None
            and (epoch := row.get("epoch")) is not None
            and math.isfinite(value)
        ]
        return [epoch for epoch, _ in found], [value for _, value in found]

    def best(self, key: str) -> tuple[float, float] | None:
        """The highest value of a column and the first epoch that has it."""
        epochs, values = self.points(key)
        if not values:
            return None
        return max(values), epochs[values.index(max(values))]

    def last(self, key: str) -> float | None:
        """The last value of a column."""
        _, values = self.points(key)
        return values[-1] if values else None


def draw_curves(curves: Sequence[FoldCurve]) -> Picture | None:
    """Loss, mean validation Dice and learning rate side by side; None where nothing was logged."""
    panels = (("loss", "Loss"), ("dice_mean", "Validation Dice, mean"), ("rate", "Learning rate"))
    if not any(curve.points(key)[0] for curve in curves for key, _ in panels):
        return None
    styles = fold_styles(curve.name for curve in curves)
    legend = FoldLegend(tuple(styles.values()), WIDTH - LEFT - RIGHT)
    figure = chart_figure(TOP + TALL + BELOW + legend.height)
    for column, (key, title) in enumerate(panels):
        rect = (LEFT + column * (FRAME + BETWEEN), TOP, FRAME, TALL)
        axes = chart_axes(figure, rect, title)
        _draw_lines(axes, curves, styles, key)
        _finish(figure, axes, rect, dice=key == "dice_mean")
    legend.draw(figure, (LEFT, TOP + TALL + BELOW - 8))
    return picture_of(figure, f"Three charts over epochs. {' '.join(map(_told, curves))}")


def draw_label_curves(curves: Sequence[FoldCurve], labels: LabelTable) -> Picture | None:
    """Validation Dice of each label over epochs, a small chart each; None where none was logged.

    Of more than 24 labels, those that ended lowest; None for a single one, which is the mean of all.
    """
    ends = {}
    for label in labels:
        last = [end for curve in curves if (end := curve.last(f"dice {label.name}")) is not None]
        if last:
            ends[label.name] = sum(last) / len(last)
    if not ends or len(labels) == 1:
        return None
    shown = sorted(sorted(ends, key=ends.__getitem__)[:MOST_LABELS], key=list(ends).index)
    styles = fold_styles(curve.name for curve in curves)
    legend = FoldLegend(tuple(styles.values()), WIDTH - LEFT - RIGHT)
    columns = min(COLUMNS, len(shown))
    frame = (WIDTH - LEFT - RIGHT - (columns - 1) * BETWEEN) / columns
    rows = -(-len(shown) // columns)
    height = TOP + LOW + BELOW
    figure = chart_figure(rows * height + legend.height)
    for number, name in enumerate(shown):
        row, column = divmod(number, columns)
        rect = (LEFT + column * (frame + BETWEEN), TOP + row * height, frame, LOW)
        axes = chart_axes(figure, rect, name)
        _draw_lines(axes, curves, styles, f"dice {name}")
        _finish(figure, axes, rect, dice=True)
    legend.draw(figure, (LEFT, rows * height - 8))
    said = ", ".join(f"{name} {ends[name]:.3f}" for name in shown)
    left_out = len(ends) - len(shown)
    return picture_of(
        figure,
        f"A chart of validation Dice over epochs for each label. Last values, mean over folds: {said}.",
        f"The {len(shown)} labels that ended lowest; {left_out} more are not drawn." if left_out else "",
    )


def _draw_lines(axes: Axes, curves: Sequence[FoldCurve], styles: Mapping[str, FoldStyle], key: str) -> None:
    """A line for each fold, with markers as long as they do not run into each other."""
    for curve in curves:
        epochs, values = curve.points(key)
        style = styles[curve.name]
        marked = len(epochs) <= MOST_MARKED and (key.startswith("dice") or len(epochs) == 1)
        axes.plot(
            epochs,
            values,
            color=style.colour,
            linestyle=style.stroke,
            linewidth=3,
            marker=style.marker if marked else "",
            markersize=8,
        )


def _finish(figure: Figure, axes: Axes, rect: tuple[float, float, float, float], *, dice: bool) -> None:
    """Whole epochs below, Dice always from 0 to 1, and few enough numbers to be read."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if dice:
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        # 0.003 rather than "3" with "1e-3" somewhere above the frame, where the title stands
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, at: f"{value:.4g}"))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    x, y, width, height = rect
    write_text(figure, (x + width / 2, y + height + 54), "epoch", size=TEXT, color=INK, ha="center")


def _told(curve: FoldCurve) -> str:
    """A fold's course in a sentence."""
    _, losses = curve.points("loss")
    if not losses:
        return f"{curve.name}: no epoch was logged."
    told = f"{curve.name}: loss from {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} epochs"
    best = curve.best("dice_mean")
    if best is None:
        return f"{told}, never validated."
    return f"{told}, highest mean validation Dice {best[0]:.3f} after epoch {best[1]:.0f}."
