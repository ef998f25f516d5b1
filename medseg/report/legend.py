"""What the colours of a preview mean: name, size and what to beware of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medseg.io.colours import colours_of
from medseg.prediction import Measured
from medseg.report.lettering import ellipsis, plain, text_width, write_text
from medseg.segmentation import Label, Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Entry", "Legend", "entries_of", "said"]

MOST = 24
FEWEST = 6
INK, MUTED, WARNING = "#e8ebf0", "#8f98a8", "#f0b95a"
SWATCH = 14
GAP = 10
NAME_GAP = 18
COLUMN_GAP = 44
NAME_SIZE, FLAG_SIZE = 14.5, 12.0
ROW, ROW_WITH_FLAG = 28, 46
FILL = 0.4


@dataclass(frozen=True)
class Entry:
    """One line of the legend: `amount` is None where nothing was measured; `outline`: a contour only."""

    name: str
    colour: str
    amount: float | None
    unit: str
    flag: str
    outline: bool = False

    @property
    def size(self) -> str:
        """The amount with its unit, in as many digits as are worth reading."""
        return "" if self.amount is None else f"{said(self.amount)} {self.unit}"

    @property
    def needed(self) -> float:
        """The width in pixels at which nothing is cut."""
        first = text_width(self.name, NAME_SIZE) + NAME_GAP + text_width(self.size, NAME_SIZE)
        return SWATCH + GAP + max(first, text_width(self.flag, FLAG_SIZE))


def said(amount: float) -> str:
    """A number to read: 1,126 or 33.5 or 0.42 or 0.0031."""
    if amount == 0:
        return "0"
    if amount >= 99.95:
        return f"{amount:,.0f}"
    if amount >= 0.995:
        return f"{amount:.1f}"
    return f"{amount:.2g}" if amount >= 0.0001 else f"{amount:.0e}"


def entries_of(segmentation: Segmentation, measurements: Iterable[Measured]) -> tuple[Entry, ...]:
    """One entry a label, the largest first; sizes and flags are what was measured."""
    sizes = {
        row.label: row
        for row in reversed(tuple(measurements))
        if row.quantity in ("volume", "area") and row.object is None
    }
    entries, colours = [], colours_of(segmentation.labels)
    for label in segmentation.labels:
        row = sizes.get(label.name)
        amount = float(row.value) if row is not None and isinstance(row.value, int | float) else None
        entries.append(
            Entry(
                name=plain(label.name, f"label {label.value}") + _count(segmentation, label),
                colour=colours[label.name],
                amount=amount,
                unit=row.unit if row is not None else "",
                flag=plain(row.flag) if row is not None else "",
                outline=label.layer > 0,
            )
        )
    return tuple(sorted(entries, key=lambda entry: -(entry.amount or 0.0)))


def _count(segmentation: Segmentation, label: Label) -> str:
    """How many objects a label has, in brackets; nothing where it is a plain label."""
    if segmentation.kinds[label.layer] != "objects":
        return ""
    return f" ({sum(thing.label == label.name for thing in segmentation.objects)})"


@dataclass(frozen=True)
class Legend:
    """Entries in columns, filled downwards; all measures are pixels."""

    entries: tuple[Entry, ...]
    columns: int
    most: int = MOST

    @classmethod
    def beside(cls, entries: tuple[Entry, ...], height: float) -> Legend:
        """One column with as many entries as fit into this height, and no fewer than six."""
        row = cls(entries, columns=1).row_height
        fitting = int((height - (ROW if len(entries) * row > height else 0)) // row)
        return cls(entries, columns=1, most=min(MOST, max(FEWEST, fitting)))

    @classmethod
    def across(cls, entries: tuple[Entry, ...], width: float) -> Legend:
        """A legend over this width: as many columns as can hold every name and size, from 5 down to 3."""
        needed = max((entry.needed for entry in entries[:MOST]), default=0.0)
        fitting = (n for n in (5, 4) if (width + COLUMN_GAP) / n - COLUMN_GAP >= needed)
        return cls(entries, columns=next(fitting, 3))

    @property
    def shown(self) -> tuple[Entry, ...]:
        """The entries there is room for."""
        return self.entries[: self.most]

    @property
    def rows(self) -> int:
        """Rows of the longest column."""
        return -(-len(self.shown) // self.columns)

    @property
    def row_height(self) -> int:
        """Even rows: with room for a flag under the name if any entry has one."""
        return ROW_WITH_FLAG if any(entry.flag for entry in self.shown) else ROW

    @property
    def height(self) -> int:
        """Height of all rows, and of the line that counts the labels left out."""
        return max(1, self.rows) * self.row_height + (ROW if len(self.entries) > self.most else 0)

    def draw(self, figure: Figure, at: tuple[float, float], width: float) -> None:
        """Draw with the upper left corner `at`."""
        column = (width - COLUMN_GAP * (self.columns - 1)) / self.columns
        for number, entry in enumerate(self.shown):  # of equal columns, however few are filled
            x = at[0] + (number // self.rows) * (column + COLUMN_GAP)
            _draw_entry(figure, entry, (x, at[1] + (number % self.rows) * self.row_height + ROW / 2), column)
        below = at[1] + self.rows * self.row_height + ROW / 2
        left_out = len(self.entries) - len(self.shown)
        if left_out:
            words = f"+ {left_out} more"
            write_text(figure, (at[0] + SWATCH + GAP, below), words, size=NAME_SIZE, color=MUTED)
        if not self.entries:
            write_text(figure, (at[0], at[1] + ROW / 2), "no labels", size=NAME_SIZE, color=MUTED)


def _draw_entry(figure: Figure, entry: Entry, at: tuple[float, float], width: float) -> None:
    """A swatch as the label is drawn, its name, its size to the right, its flag beneath."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    x, y = at
    figure_height = figure.get_figheight() * figure.dpi
    figure.add_artist(
        Rectangle(
            (x + 0.75, figure_height - y - SWATCH / 2),
            SWATCH,
            SWATCH,
            facecolor=to_rgba(entry.colour, 0.0 if entry.outline else FILL),
            edgecolor=entry.colour,
            linewidth=1.5,
            transform=IdentityTransform(),
        )
    )
    left, right = x + SWATCH + GAP, x + width
    room = right - left - text_width(entry.size, NAME_SIZE) - NAME_GAP
    ink = MUTED if entry.flag == "empty" else INK
    write_text(figure, (left, y), ellipsis(entry.name, room, NAME_SIZE), size=NAME_SIZE, color=ink)
    write_text(figure, (right, y), entry.size, size=NAME_SIZE, color=MUTED, ha="right")
    if entry.flag:
        flag = ellipsis(entry.flag, right - left, FLAG_SIZE)
        write_text(figure, (left, y + 18), flag, size=FLAG_SIZE, color=WARNING)
