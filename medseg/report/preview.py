"""One picture of a finished case: the labels over the image in three planes, and what they are.

The figure is laid out in pixels (72 dots per inch make a point a pixel), with matplotlib's objects only: no
pyplot, no settings shared with other code, and the same bytes each time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.colours import colour_of_object, colours_of
from medseg.prediction import Measured
from medseg.report import NOTICE
from medseg.report.legend import FILL, INK, MUTED, WARNING, Legend, entries_of
from medseg.report.lettering import ellipsis, plain, write_text
from medseg.report.panels import (
    CAPTION,
    GROUND,
    GUTTER,
    SOFT_TISSUE,
    THINNEST,
    Rect,
    draw_letters,
    draw_panel,
    draw_scale,
    is_ct,
    outlines,
    shades,
)
from medseg.report.planes import Plane, planes_of
from medseg.segmentation import Segmentation
from medseg.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["compose", "draw_preview"]

WIDTH = 1800
MARGIN = 36
HEADER = 84
FOOTER = 44
NOTE = 24  # height of a line
NOTE_SIZE = 13.5
MOST_NOTES = 6
LEGEND_COLUMN = 400
TALLEST = 900
NARROWEST = 900
LINE = 1.5
MOST_OUTLINED = 8192  # regions of a slice; of more, each has a few pixels of the panel
TIMES = " \u00d7 "


def draw_preview(
    volume: Volume,
    segmentation: Segmentation,
    path: Path,
    *,
    measurements: Iterable[Measured] = (),
    title: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write the picture as PNG: axial, coronal and sagittal slices with labels, legend and scale bars.

    Slices are the most informative ones (see `informative_slices`), in radiological convention: the patient's
    right is on the image's left. Proportions are true. CT is shown from -160 to 240 HU, any other image
    between its 1st and 99th percentile there. Labels of the first layer are tinted and outlined, those of
    further layers, which may lie over them, outlined only. A picture of one slice is one panel, RGB in its
    colours. Sizes and flags in the legend are taken from `measurements`; `notes` stand below it, a line each.
    """
    # where its cache cannot be written, it says so in two lines that mean nothing to a user
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure = compose(volume, segmentation, measurements=measurements, title=title, notes=notes)
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    canvas.draw()
    # Saved by Pillow: matplotlib would write its version into the file.
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(path, format="PNG")


def compose(
    volume: Volume,
    segmentation: Segmentation,
    *,
    measurements: Iterable[Measured] = (),
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """The same picture as a matplotlib Figure, not yet drawn; each panel is an Axes labelled by its plane."""
    from matplotlib.figure import Figure

    segmentation = segmentation.onto(volume.grid)
    planes = planes_of(volume, segmentation)
    pictures = shades(volume, planes)
    layout = _layout(planes, entries_of(segmentation, measurements))
    height = layout.height + NOTE * min(len(notes), MOST_NOTES)
    figure = Figure(figsize=(layout.width / 72, height / 72), dpi=72, facecolor=GROUND)
    _draw_header(figure, volume, title, len(segmentation.labels))
    for plane, shade, rect in zip(planes, pictures, layout.panels, strict=True):
        axes = draw_panel(figure, plane, shade, rect)
        _draw_labels(axes, plane, segmentation, rect)
        draw_letters(figure, plane, rect)
        draw_scale(figure, plane, rect, volume.grid.unit)
    layout.legend.draw(figure, layout.legend_at, layout.legend_width)
    _draw_notes(figure, notes, layout.height - FOOTER + NOTE / 2)
    at = (layout.width - MARGIN, height - FOOTER / 2 - 2)
    write_text(figure, at, NOTICE, size=12, color=MUTED, ha="right")
    return figure


@dataclass(frozen=True)
class _Layout:
    """Where everything goes, in pixels; `panels` are in the order of the planes."""

    width: int
    height: int
    panels: tuple[Rect, ...]
    legend: Legend
    legend_at: tuple[float, float]
    legend_width: float


def _layout(planes: Sequence[Plane], entries: tuple[Any, ...]) -> _Layout:
    """Panels of one height side by side with the legend below, or beside them where they are narrow.

    Thin stacks would leave a low row: their first panel stands left, the others on top of each other.
    """
    aspects = [min(max(plane.aspect, 1 / THINNEST), THINNEST) for plane in planes]
    inner = WIDTH - 2 * MARGIN
    beside = inner - LEGEND_COLUMN - 2 * GUTTER
    top = HEADER + (CAPTION if planes[0].name else GUTTER)
    if _row_height(aspects, beside) > TALLEST * 0.7:
        panels = _row(aspects, beside, top)
        across = max(right for right, _ in map(_far_corner, panels)) + 2 * GUTTER
        low = max(bottom for _, bottom in map(_far_corner, panels))
        legend = Legend.beside(entries, low - top)
        height = max(low, top + legend.height)
        width = max(round(across + LEGEND_COLUMN + MARGIN), NARROWEST)
        at = (across, top)
        return _Layout(width, round(height + GUTTER + FOOTER), panels, legend, at, width - MARGIN - across)
    low_row = len(aspects) == 3 and _row_height(aspects, inner) < TALLEST * 0.4
    panels = _stack(aspects, inner, top) if low_row else _row(aspects, inner, top)
    legend = Legend.across(entries, inner)
    below = max(low for _, low in map(_far_corner, panels)) + GUTTER + 8
    height = round(below + legend.height + FOOTER)
    return _Layout(WIDTH, height, panels, legend, (MARGIN, below), inner)


def _far_corner(rect: Rect) -> tuple[float, float]:
    return rect[0] + rect[2], rect[1] + rect[3]


def _row_height(aspects: Sequence[float], width: float) -> float:
    return min(TALLEST, (width - GUTTER * (len(aspects) - 1)) / sum(aspects))


def _row(aspects: Sequence[float], width: float, top: float) -> tuple[Rect, ...]:
    """Panels of one height in a row."""
    height = _row_height(aspects, width)
    x, panels = float(MARGIN), []
    for aspect in aspects:
        panels.append(_whole((x, top, aspect * height, height)))
        x += aspect * height + GUTTER
    return tuple(panels)


def _stack(aspects: Sequence[float], width: float, top: float) -> tuple[Rect, ...]:
    """The first panel left, two others on top of each other to its right, together as high as it."""
    between = GUTTER + CAPTION
    ratio = 1 / (1 / aspects[1] + 1 / aspects[2])
    height = min(TALLEST, (width - GUTTER + between * ratio) / (aspects[0] + ratio))
    column = (height - between) * ratio
    x, y = MARGIN + aspects[0] * height + GUTTER, top
    upper = column / aspects[1]
    return (
        _whole((MARGIN, y, aspects[0] * height, height)),
        _whole((x, y, column, upper)),
        _whole((x, y + upper + between, column, column / aspects[2])),
    )


def _whole(rect: Rect) -> Rect:
    """Whole pixels, at least one: an image is then not blurred by half a pixel."""
    x, y, width, height = (round(value) for value in rect)
    return x, y, max(1, width), max(1, height)


def _draw_header(figure: Figure, volume: Volume, title: str, labels: int) -> None:
    """The title, and in one line below it what image this is and how it is shown."""
    grid = volume.grid
    flat = volume.is_picture
    count = TIMES.join(str(n) for n in (grid.shape[:2] if flat else grid.shape))
    parts = [
        f"{labels} label" if labels == 1 else f"{labels} labels",
        f"{count} {'pixels' if flat else 'voxels'}",
    ]
    if grid.unit == "mm":
        parts.append(TIMES.join(f"{s:.3g}" for s in (grid.spacing[:2] if flat else grid.spacing)) + " mm")
    if is_ct(volume):
        parts.append(f"CT from \u2212{-SOFT_TISSUE[0]:g} to {SOFT_TISSUE[1]:g} HU")
    elif volume.source is not None and volume.source.modality:
        parts.append(plain(volume.source.modality))
    width = figure.get_figwidth() * 72 - 2 * MARGIN
    heading = ellipsis(plain(title), width, 22, "bold")
    write_text(figure, (MARGIN, 36), heading, size=22, weight="bold", color=INK)
    write_text(figure, (MARGIN, 66), ellipsis(" \u00b7 ".join(parts), width, 13.5), size=13.5, color=MUTED)


def _draw_notes(figure: Figure, notes: Sequence[str], top: float) -> None:
    """A line for each note; where there are too many, the last line counts those that are left out."""
    width = figure.get_figwidth() * 72 - 2 * MARGIN
    shown = list(notes[:MOST_NOTES])
    if len(notes) > MOST_NOTES:
        shown[-1] = f"+ {len(notes) - MOST_NOTES + 1} more notes"
    for number, note in enumerate(shown):
        line = ellipsis(plain(note), width, NOTE_SIZE)
        write_text(figure, (MARGIN, top + number * NOTE), line, size=NOTE_SIZE, color=WARNING)


def _draw_labels(axes: Axes, plane: Plane, segmentation: Segmentation, rect: Rect) -> None:
    """Tint and outline each region: large ones first, so as not to hide small ones, upper layers last."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import PathPatch

    for layer in range(len(segmentation.kinds)):
        values = plane.of(segmentation.array[layer])
        colours = dict(_colours(segmentation, layer, values))
        fill = FILL if layer == 0 else 0.0
        if len(colours) > MOST_OUTLINED:
            _draw_many(axes, values, colours, rect, fill=fill, zorder=2 + layer)
            continue
        regions = [region for region in outlines(values) if region.value in colours]
        for region in sorted(regions, key=lambda region: -region.voxels):
            colour = colours[region.value]
            # not add_patch, which would seek the extent of each
            axes.add_artist(
                PathPatch(
                    region.border,
                    facecolor=to_rgba(colour, fill),
                    edgecolor=colour,
                    linewidth=LINE,
                    joinstyle="round",
                    zorder=2 + layer,
                )
            )


def _draw_many(
    axes: Axes, values: NDArray[Any], colours: Mapping[int, str], rect: Rect, *, fill: float, zorder: int
) -> None:
    """The same of more regions than a panel has room to outline, by its own pixels: rims a pixel wide."""
    from matplotlib.colors import to_rgba
    from skimage.segmentation import find_boundaries

    width, height = (int(size) for size in rect[2:])
    rows, columns = values.shape
    seen = values[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
    there, at = np.unique(seen, return_inverse=True)
    tints = np.array([to_rgba(colours[n], fill) if n in colours else (0.0,) * 4 for n in there.tolist()])
    picture = tints[at.reshape(seen.shape)]
    known = np.isin(there, list(colours))[at.reshape(seen.shape)]
    picture[find_boundaries(seen, mode="inner") & known, 3] = 1.0
    axes.imshow(
        picture,
        interpolation="nearest",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
        aspect="auto",
        zorder=zorder,
    )


def _colours(segmentation: Segmentation, layer: int, values: NDArray[Any]) -> Iterator[tuple[int, str]]:
    """The values present in a slice with their colours; objects of one label are told apart by colour."""
    present = set(np.unique(values).tolist())
    if segmentation.kinds[layer] == "objects":
        yield from (
            (thing.id, colour_of_object(thing.id)) for thing in segmentation.objects if thing.id in present
        )
    else:
        colours = colours_of(segmentation.labels)
        yield from (
            (label.value, colours[label.name])
            for label in segmentation.labels
            if label.layer == layer and label.value in present
        )
