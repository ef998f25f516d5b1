"""Volumes found against true ones, as Bland and Altman plot two ways to measure one thing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medseg.report.charts import (
    COLOURS,
    INK,
    MUTED,
    TEXT,
    WIDTH,
    Picture,
    chart_axes,
    chart_figure,
    picture_of,
)
from medseg.report.lettering import ellipsis, plain, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Agreement", "VolumePair", "agreements", "draw_agreement"]

LEFT, RIGHT, BETWEEN = 140, 24, 150  # the numbers and the name of an axis stand left of it
NAMED = 112  # how far left of a frame the name of its upright axis stands
TOP, BELOW = 96, 96  # title and limits above a frame, numbers and unit below
COLUMNS = 3
HEIGHT = 330.0
FRAME = (WIDTH - LEFT - RIGHT - (COLUMNS - 1) * BETWEEN) / COLUMNS
FEWEST = 3  # cases, below which a spread says nothing
MOST = 24  # labels
LIMITS = 1.96  # standard deviations: 95 % of a normal distribution


@dataclass(frozen=True)
class VolumePair:
    """How large a label of a case is, found and true, in mL (px without a scale)."""

    case: str
    label: str
    prediction: float
    reference: float
    unit: str

    @property
    def mean(self) -> float:
        """The mean of both, the best guess where neither is the truth."""
        return (self.prediction + self.reference) / 2

    @property
    def difference(self) -> float:
        """What was found less what is true."""
        return self.prediction - self.reference


@dataclass(frozen=True)
class Agreement:
    """A label's volumes over cases: the mean difference, and between which limits 95 % of them are expected.

    Limits of agreement are the bias less and plus 1.96 standard deviations of the differences. Bland JM,
    Altman DG. Statistical methods for assessing agreement between two methods of clinical measurement. Lancet
    327 (1986) 307-310.
    """

    label: str
    unit: str
    pairs: tuple[VolumePair, ...]
    bias: float
    low: float
    high: float


def agreements(pairs: Sequence[VolumePair]) -> tuple[Agreement, ...]:
    """By label, of the cases in which either mask has it; none of a label in fewer than three."""
    by_label: dict[tuple[str, str], list[VolumePair]] = {}
    for pair in pairs:
        if pair.prediction or pair.reference:
            by_label.setdefault((pair.label, pair.unit), []).append(pair)
    found = []
    for (label, unit), own in by_label.items():
        if len(own) < FEWEST:
            continue
        differences = [pair.difference for pair in own]
        bias, beyond = statistics.fmean(differences), LIMITS * statistics.stdev(differences)
        found.append(Agreement(label, unit, tuple(own), bias, bias - beyond, bias + beyond))
    return tuple(found)


def draw_agreement(pairs: Sequence[VolumePair]) -> Picture | None:
    """A frame for each label: the difference of both volumes over their mean; None without enough cases.

    Of more than 24 labels, those whose limits are farthest from nothing, by their mean volume.
    """
    rows = agreements(pairs)
    if not rows:
        return None
    chosen = sorted(rows, key=_unsure, reverse=True)[:MOST]
    shown = [row for row in rows if row in chosen]
    lines = -(-len(shown) // COLUMNS)
    figure = chart_figure(lines * (TOP + HEIGHT + BELOW))
    for number, row in enumerate(shown):
        x = LEFT + (number % COLUMNS) * (FRAME + BETWEEN)
        y = TOP + (number // COLUMNS) * (TOP + HEIGHT + BELOW)
        _draw_points(chart_axes(figure, (x, y, FRAME, HEIGHT)), row)
        _draw_words(figure, (x, y), row)
    said = "; ".join(
        f"{row.label} {_signed(row.bias)} {row.unit}, {_signed(row.low)} to {_signed(row.high)}"
        for row in shown
    )
    caption = (
        "A point is a case; the line is the mean difference (bias), the dashed lines are 1.96 standard "
        "deviations from it (limits of agreement)."
    )
    if len(rows) > len(shown):
        caption += f" The {len(shown)} labels that agree least, of {len(rows)}."
    return picture_of(figure, f"Volumes, bias and limits of agreement of each label: {said}.", caption)


def _unsure(row: Agreement) -> float:
    """How far the limits are from no difference, as a share of the mean volume."""
    return max(abs(row.low), abs(row.high)) / max(statistics.fmean(pair.mean for pair in row.pairs), 1e-12)


def _draw_words(figure: Figure, at: tuple[float, float], row: Agreement) -> None:
    """Label, bias and limits above a frame whose upper left corner is `at`, and what its axes are."""
    x, y = at
    name = ellipsis(plain(row.label), FRAME, TEXT, "bold")
    write_text(figure, (x, y - 58), name, size=TEXT, weight="bold", color=INK)
    limits = f"{_signed(row.low)} to {_signed(row.high)}"
    words = f"{_signed(row.bias)} ({limits}) {row.unit}, n = {len(row.pairs)}"
    write_text(figure, (x, y - 26), ellipsis(words, FRAME + 60, TEXT - 2), size=TEXT - 2, color=MUTED)
    words = f"mean of both, {row.unit}"
    write_text(figure, (x + FRAME / 2, y + HEIGHT + 58), words, size=TEXT - 2, color=INK, ha="center")
    words = f"prediction less reference, {row.unit}"
    place = (x - NAMED, y + HEIGHT / 2)
    write_text(figure, place, words, size=TEXT - 2, color=INK, ha="center", rotation=90)


def _draw_points(axes: Axes, row: Agreement) -> None:
    """The points of a label, with lines at nothing, at the bias and at the limits."""
    across = [pair.mean for pair in row.pairs]
    up = [pair.difference for pair in row.pairs]
    for height, style, colour, width in (
        (0.0, "solid", MUTED, 1.5),
        (row.bias, "solid", COLOURS[1], 3.0),
        (row.low, (0, (5, 3)), COLOURS[1], 2.0),
        (row.high, (0, (5, 3)), COLOURS[1], 2.0),
    ):
        axes.axhline(height, linestyle=style, color=colour, linewidth=width, zorder=2)
    axes.plot(
        across,
        up,
        linestyle="none",
        marker="o",
        markersize=9,
        color=COLOURS[0],
        alpha=0.8,
        markeredgecolor="white",
        markeredgewidth=0.8,
        zorder=3,
    )
    low, high = min(*up, row.low, 0.0), max(*up, row.high, 0.0)
    room = 0.08 * (high - low) or 1.0
    sideways = 0.06 * (max(across) - min(across)) or 0.06 * max(across)
    axes.set(
        xlim=(min(across) - sideways, max(across) + sideways),
        ylim=(low - room, high + room),
    )
    axes.locator_params(axis="x", nbins=5)


def _signed(number: float) -> str:
    """A number with its sign and three digits, a true minus."""
    if number == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:+.{min(places, 4)}f}".replace("-", "\u2212")
