"""The measurements as a table to look at: a row for each label, on as many pictures as the rows need.

Laid out as the preview is (see `medseg.report.preview`): pixels, no pyplot, the same bytes each time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medseg.io.colours import colours_of
from medseg.prediction import Measured
from medseg.report import NOTICE
from medseg.report.legend import GAP, INK, MUTED, SWATCH, WARNING, said
from medseg.report.lettering import ellipsis, plain, write_text
from medseg.report.panels import GROUND
from medseg.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ROWS", "Row", "compose", "rows_of"]

ROWS = 28  # on one picture
WIDTH, MARGIN = 1400, 36
HEADER, HEAD, ROW, FOOTER = 64, 36, 32, 52
SIZE = 14.5
SIZES_END, INTENSITY_END, NOTE_START = 640, 900, 940  # pixels from the left
RULE = "#2a303a"


@dataclass(frozen=True)
class Row:
    """A label's row: name, colour, and in words its size, its intensity and what to beware of."""

    name: str
    colour: str
    size: str = ""
    intensity: str = ""
    flag: str = ""


def rows_of(segmentation: Segmentation, measurements: Iterable[Measured]) -> tuple[Row, ...]:
    """A row for each label, in the order of the label table."""
    values = {(row.label, row.quantity): row for row in measurements if row.object is None}
    rows, colours = [], colours_of(segmentation.labels)
    for label in segmentation.labels:
        size = values.get((label.name, "volume")) or values.get((label.name, "area"))
        mean, sd = (values.get((label.name, f"intensity_{what}")) for what in ("mean", "sd"))
        rows.append(
            Row(
                name=plain(label.name, f"label {label.value}"),
                colour=colours[label.name],
                size=_number(size),
                intensity=" \u00b1 ".join(filter(None, (_number(mean, unit=False), _number(sd)))),
                flag=plain(size.flag) if size is not None else "",
            )
        )
    return tuple(rows)


def _number(row: Measured | None, *, unit: bool = True) -> str:
    """A value in as many digits as are worth reading."""
    if row is None or not isinstance(row.value, int | float) or not math.isfinite(row.value):
        return ""
    sign = "\u2212" if row.value < 0 else ""
    return f"{sign}{said(abs(row.value))} {row.unit if unit else ''}".strip()


def compose(rows: Sequence[Row], *, title: str = "") -> Iterator[Figure]:
    """Matplotlib Figures, 28 rows on each; one with a head only where there are no labels."""
    pages = max(1, math.ceil(len(rows) / ROWS))
    for page in range(pages):
        heading = f"{title} ({page + 1} of {pages})" if pages > 1 else title
        yield _page(rows[page * ROWS : (page + 1) * ROWS], heading)


def _page(rows: Sequence[Row], title: str) -> Figure:
    from matplotlib.figure import Figure

    height = HEADER + HEAD + ROW * max(1, len(rows)) + FOOTER
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor=GROUND)
    heading = ellipsis(plain(title), WIDTH - 2 * MARGIN, 22, "bold")
    write_text(figure, (MARGIN, 36), heading, size=22, weight="bold", color=INK)
    middle = HEADER + HEAD / 2
    left = MARGIN + SWATCH + GAP
    for words, x, side in (
        ("label", left, "left"),
        ("volume", SIZES_END, "right"),
        ("intensity, mean \u00b1 sd", INTENSITY_END, "right"),
        ("note", NOTE_START, "left"),
    ):
        write_text(figure, (x, middle), words, size=12.5, color=MUTED, ha=side)
    for number, row in enumerate(rows):
        _draw_row(figure, row, HEADER + HEAD + number * ROW)
    if not rows:
        write_text(figure, (left, middle + HEAD), "no labels", size=SIZE, color=MUTED)
    write_text(figure, (WIDTH - MARGIN, height - FOOTER / 2), NOTICE, size=12, color=MUTED, ha="right")
    return figure


def _draw_row(figure: Figure, row: Row, top: float) -> None:
    """A line above, a swatch, and the words."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    up, place = figure.get_figheight() * 72 - top, IdentityTransform()
    figure.add_artist(Line2D([MARGIN, WIDTH - MARGIN], [up, up], color=RULE, linewidth=1, transform=place))
    corner = (MARGIN, up - (ROW + SWATCH) / 2)
    figure.add_artist(Rectangle(corner, SWATCH, SWATCH, facecolor=row.colour, transform=place))
    left, middle = MARGIN + SWATCH + GAP, top + ROW / 2
    room = SIZES_END - left - 130
    write_text(figure, (left, middle), ellipsis(row.name, room, SIZE), size=SIZE, color=INK)
    write_text(figure, (SIZES_END, middle), row.size or "\u2013", size=SIZE, color=INK, ha="right")
    intensity = row.intensity or "\u2013"
    write_text(figure, (INTENSITY_END, middle), intensity, size=SIZE, color=INK, ha="right")
    flag = ellipsis(row.flag, WIDTH - MARGIN - NOTE_START, SIZE)
    write_text(figure, (NOTE_START, middle), flag, size=SIZE, color=WARNING)
