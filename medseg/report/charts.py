"""What the charts of a page share: paper, ink, axes at a place in pixels, one look per fold, a legend.

Laid out in pixels (72 dots per inch make a point a pixel) with matplotlib's objects only, as previews are.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.report.lettering import ellipsis, plain, text_width, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FoldStyle", "Picture", "chart_axes", "chart_figure", "fold_styles", "picture_of"]

PAPER, INK, MUTED, GRID = "#ffffff", "#1b1f24", "#57606a", "#dfe3e8"
WIDTH = 1600
TITLE, TEXT = 24, 21
ROW = 36  # height of a legend's line
SAMPLE = 64  # length of a line in the legend
BETWEEN = 40

# The colours of Okabe and Ito (2008), told apart with any colour vision; yellow is left out, as it fades on
# paper. The stroke changes with each, so that a page printed in grey can be read too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
STROKES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Picture:
    """A picture inside a page: its PNG as a data: URI, its size in pixels, and what it shows in words."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class FoldStyle:
    """How one fold is drawn in every chart."""

    name: str
    colour: str
    stroke: Any
    marker: str


def fold_styles(names: Iterable[str]) -> dict[str, FoldStyle]:
    """A look for each fold, in the order given; colours and strokes come round at different times."""
    return {
        name: FoldStyle(name, COLOURS[n % len(COLOURS)], STROKES[n % len(STROKES)], MARKERS[n % len(MARKERS)])
        for n, name in enumerate(dict.fromkeys(names))
    }


def picture_of(figure: Figure, alt: str, caption: str = "") -> Picture:
    """The figure drawn, without anything that changes from one time to the next."""
    # where its cache cannot be written, it says so in two lines that mean nothing to a user
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(uri, pixels.shape[1], pixels.shape[0], alt, caption)


def chart_figure(height: float, width: float = WIDTH, ground: str = PAPER) -> Figure:
    """An empty figure of this size in pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=ground)


def chart_axes(figure: Figure, rect: tuple[float, float, float, float], title: str = "") -> Axes:
    """Axes whose frame is `rect`: x, y of the upper left corner, width and height in pixels.

    Numbers along the axes lie outside of it: leave 90 pixels on the left and 60 below; the title stands 22
    pixels above, cut where it would reach beyond the frame.
    """
    x, y, width, height = rect
    across, down = figure.get_figwidth() * 72, figure.get_figheight() * 72
    axes = figure.add_axes(
        (x / across, 1 - (y + height) / down, width / across, height / down), facecolor=PAPER
    )
    axes.grid(visible=True, color=GRID, linewidth=1.5)
    axes.set_axisbelow(True)
    axes.tick_params(
        colors=MUTED, labelsize=TEXT - 2, labelfontfamily="DejaVu Sans", length=5, width=1.5, pad=6
    )
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=MUTED, linewidth=1.5)
    if title:
        words = ellipsis(plain(title), width, TITLE, "bold")
        write_text(figure, (x, y - 22), words, size=TITLE, weight="bold", color=INK)
    return axes


@dataclass(frozen=True)
class FoldLegend:
    """Which look is which fold: in lines of equal columns, as wide as `width` pixels allow."""

    styles: Sequence[FoldStyle]
    width: float
    points: bool = False
    """Draw a marker alone, as in a chart of points."""

    @property
    def _sample(self) -> float:
        return 16.0 if self.points else float(SAMPLE)

    @property
    def _column(self) -> float:
        names = max((text_width(plain(style.name), TEXT) for style in self.styles), default=0.0)
        return min(self.width, self._sample + 14 + names + BETWEEN)

    @property
    def height(self) -> float:
        """Pixels that it takes."""
        columns = max(1, int(self.width // self._column))
        return float(-(-len(self.styles) // columns) * ROW)

    def draw(self, figure: Figure, at: tuple[float, float]) -> None:
        """Draw with the upper left corner `at`."""
        columns = max(1, int(self.width // self._column))
        for number, style in enumerate(self.styles):
            x = at[0] + (number % columns) * self._column
            y = at[1] + (number // columns) * ROW + ROW / 2
            draw_sample(figure, style, (x, y), self._sample, line=not self.points)
            left = x + self._sample + 14
            room = self._column - self._sample - 14
            words = ellipsis(plain(style.name), room, TEXT)
            write_text(figure, (left, y), words, size=TEXT, color=INK)


def draw_sample(
    figure: Figure, style: FoldStyle, at: tuple[float, float], length: float, *, line: bool = True
) -> None:
    """A piece of a line with its marker, from `at` to the right."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import IdentityTransform

    x, y = at[0], figure.get_figheight() * 72 - at[1]
    common: dict[str, Any] = {"color": style.colour, "transform": IdentityTransform()}
    if line:
        figure.add_artist(
            Line2D([x, x + length], [y, y], linewidth=3, linestyle=style.stroke, marker="", **common)
        )
    figure.add_artist(
        Line2D([x + length / 2], [y], linestyle="none", marker=style.marker, markersize=9, **common)
    )
