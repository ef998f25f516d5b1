"""One picture of lesions: each in the slice of its longest diameter, with its outline and its diameters.

Laid out as the preview is (see `medseg.report.preview`): pixels, no pyplot, the same bytes each time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.report import NOTICE
from medseg.report.legend import INK, MUTED
from medseg.report.lettering import ellipsis, plain, write_text
from medseg.report.panels import (
    CAPTION,
    GROUND,
    GUTTER,
    Rect,
    draw_letters,
    draw_panel,
    draw_scale,
    outline,
    shades,
)
from medseg.report.planes import Plane, planes_of
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["KeyImage", "compose", "draw_key_images"]

COLUMNS = 4
TILE = 420
MARGIN = 36
HEADER = 84
FOOTER = 44
WORDS = 26  # height of the line under a tile
LEAST_MM = 60.0  # side of a tile, so that small lesions are seen in what is around them
AROUND = 2.5  # times the longest diameter, where that is more
RIM = (0.0, 0.0, 0.0, 0.65)
LONG, UPRIGHT = "#ffffff", "#ffd24d"

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class KeyImage:
    """What is drawn of one lesion.

    `mask[i, j, k]` fills `box` of the image, whose slice `slice` along `axis` is shown; `longest` and
    `perpendicular` are the ends of its diameters in RAS+; `name` and `words` stand above and below.
    """

    name: str
    words: str
    colour: str
    mask: NDArray[np.bool_]
    box: tuple[slice, slice, slice]
    axis: int
    slice: int
    longest: tuple[Point, Point]
    perpendicular: tuple[Point, Point]


def draw_key_images(volume: Volume, images: Sequence[KeyImage], path: Path, *, title: str = "") -> None:
    """Write the picture as PNG, a tile for each image in the order given."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of a cache that cannot be written
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(compose(volume, images, title=title))  # its methods have no types
    canvas.draw()
    # Saved by Pillow: matplotlib would write its version into the file.
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(path, format="PNG")


def compose(volume: Volume, images: Sequence[KeyImage], *, title: str = "") -> Figure:
    """The same picture as a matplotlib Figure; each tile is an Axes labelled by its lesion's name."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GUTTER
    step = CAPTION + TILE + WORDS + GUTTER
    height = HEADER + rows * step + FOOTER
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=GROUND)
    heading = ellipsis(plain(title), width - 2 * MARGIN, 22, "bold")
    write_text(figure, (MARGIN, 36), heading, size=22, weight="bold", color=INK)
    about = "longest axial diameter, white, and the one at a right angle to it"
    write_text(figure, (MARGIN, 66), about, size=13.5, color=MUTED)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        corner = (MARGIN + column * (TILE + GUTTER), HEADER + row * step + CAPTION)
        _draw_tile(figure, volume, image, corner)
    at = (width - MARGIN, height - FOOTER / 2 - 2)
    write_text(figure, at, NOTICE, size=12, color=MUTED, ha="right")
    return figure


def _draw_tile(figure: Figure, volume: Volume, image: KeyImage, corner: tuple[float, float]) -> None:
    """The slice around a lesion, its outline, its two diameters and the words."""
    from matplotlib.patches import PathPatch
    from matplotlib.patheffects import withStroke

    start, stop = _part(volume.grid, image)
    part = volume.crop(start, stop)
    inside = _within(image, start, part.grid)
    plane = replace(planes_of(part, inside)[0], name=image.name, where=f"{'ijk'[image.axis]} = {image.slice}")
    rect = _fitted(corner, plane)
    axes = draw_panel(figure, plane, shades(part, [plane])[0], rect)
    mask = plane.of(inside.array[0] > 0)
    if mask.any():
        axes.add_patch(PathPatch(outline(mask), facecolor="none", edgecolor=image.colour, linewidth=1.5))
    rim = [withStroke(linewidth=3.5, foreground=RIM)]  # so that a white line is seen on bone
    for ends, colour in ((image.longest, LONG), (image.perpendicular, UPRIGHT)):
        (x, y), (u, v) = (_on_plane(plane, part.grid, end) for end in ends)
        axes.plot([x, u], [y, v], color=colour, linewidth=1.5, marker="+", markersize=9, path_effects=rim)
    draw_letters(figure, plane, rect)
    draw_scale(figure, plane, rect, volume.grid.unit)
    below = (corner[0], corner[1] + TILE + WORDS / 2)
    write_text(figure, below, ellipsis(plain(image.words), TILE, 13.5), size=13.5, color=INK)


def _part(grid: Grid, image: KeyImage) -> tuple[list[int], list[int]]:
    """First voxel and the one behind the last of what is shown: a square about the lesion, in the image."""
    length = float(np.linalg.norm(np.subtract(*image.longest)))
    half = max(LEAST_MM if grid.unit == "mm" else 0.0, AROUND * length) / 2
    start, stop = [], []
    for axis, (side, step, size) in enumerate(zip(image.box, grid.spacing, grid.shape, strict=True)):
        if axis == image.axis:
            start.append(image.slice)
            stop.append(image.slice + 1)
            continue
        middle, reach = (side.start + side.stop) / 2, math.ceil(half / step)
        reach = max(reach, side.stop - side.start)
        start.append(max(0, math.floor(middle) - reach))
        stop.append(min(size, math.ceil(middle) + reach))
    return start, stop


def _within(image: KeyImage, start: Sequence[int], grid: Grid) -> Segmentation:
    """The lesion's voxels in the part that is shown."""
    array = np.zeros((1, *grid.shape), np.uint8)
    where = np.argwhere(image.mask) + [side.start for side in image.box] - np.asarray(start)
    where = where[((where >= 0) & (where < grid.shape)).all(axis=1)]
    array[0][tuple(where.T)] = 1
    return Segmentation(array, grid, LabelTable(()))


def _fitted(corner: tuple[float, float], plane: Plane) -> Rect:
    """The largest rectangle of the plane's proportions in a tile, in whole pixels."""
    width, height = (TILE, TILE / plane.aspect) if plane.aspect > 1 else (TILE * plane.aspect, TILE)
    return corner[0], corner[1], max(1, round(width)), max(1, round(height))


def _on_plane(plane: Plane, grid: Grid, place: Point) -> tuple[float, float]:
    """Column and row of a RAS+ position on a plane of the grid."""
    index = grid.to_index(place)
    seen = [
        index[axis] if sign > 0 else grid.shape[axis] - 1 - index[axis]
        for axis, sign in zip(plane.view.order, plane.view.signs, strict=True)
    ]
    across, down = (other for other in range(3) if other != plane.axis)
    return float(seen[across]), float(seen[down])
