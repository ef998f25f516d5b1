"""Panels of pictures: a slice of an image with its caption, directions and scale, and outlines of masks.

Laid out in pixels (72 dots per inch make a point a pixel) on a matplotlib Figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.report.legend import INK, MUTED
from medseg.report.lettering import text_width, write_text
from medseg.report.planes import Plane
from medseg.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Rect",
    "Region",
    "draw_letters",
    "draw_panel",
    "draw_scale",
    "is_ct",
    "outline",
    "outlines",
    "shades",
]

GROUND = "#0e1116"
RIM = (0.0, 0.0, 0.0, 0.65)
GUTTER = 20
CAPTION = 34
THINNEST = 24.0  # at most this ratio of width to height is drawn true; a line would not be seen
SOFT_TISSUE = (-160.0, 240.0)  # HU: width 400 at level 40, the usual abdominal window
SCALE_BAR = 0.22  # of a panel's width

Rect = tuple[
    float, float, float, float
]  # x, y of the upper left corner, width, height; pixels from the upper left


def draw_panel(figure: Figure, plane: Plane, shade: NDArray[np.uint8], rect: Rect) -> Axes:
    """The slice and its caption; the axes count voxels of the slice, so that outlines need no scaling."""
    from PIL import Image

    x, y, width, height = rect
    across, down = figure.get_figwidth() * 72, figure.get_figheight() * 72
    axes = figure.add_axes(
        (x / across, 1 - (y + height) / down, width / across, height / down), label=plane.name
    )
    rows, columns = shade.shape[:2]
    # Bicubic to the panel's own pixels: smooth where voxels are large, free of moiré where they are small.
    picture = Image.fromarray(shade).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    axes.imshow(
        np.asarray(picture),
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
        aspect="auto",
    )
    axes.set_axis_off()
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    if plane.name:
        middle = y - CAPTION / 2 + 2
        write_text(figure, (x, middle), plane.name, size=15, weight="bold", color=INK)
        after = x + text_width(plane.name, 15, "bold") + 10
        write_text(figure, (after, middle), plane.where, size=13, color=MUTED)
    return axes


def shades(volume: Volume, planes: Sequence[Plane]) -> list[NDArray[np.uint8]]:
    """The slices as `[row, column]` of grey or `[row, column, 3]` of colour; only slices are converted."""
    if volume.is_picture and volume.array.shape[0] in (3, 4):
        colour = np.stack([planes[0].of(channel) for channel in volume.array[:3]], axis=-1).astype(np.float64)
        white = 255.0 if volume.array.dtype == np.uint8 else float(np.nanmax(colour))
        return [_grey(colour, 0.0, white)]
    slices = [plane.of(volume.array[0]).astype(np.float64) for plane in planes]
    low, high = _window(volume, slices)
    return [_grey(values, low, high) for values in slices]


def _window(volume: Volume, slices: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """What is drawn black and what white."""
    if is_ct(volume):
        return SOFT_TISSUE
    values = np.concatenate([values[np.isfinite(values)] for values in slices])
    if len(values) == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    if low == high:  # few voxels differ, as in a sparse picture
        low, high = float(values.min()), float(values.max())
    return low, high


def is_ct(volume: Volume) -> bool:
    """Whether the image says that it is a CT, so that its values are Hounsfield units."""
    return volume.source is not None and volume.source.modality == "CT"


def _grey(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12)
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def outline(mask: NDArray[np.bool_]) -> Any:
    """The border of a mask `[row, column]`, halfway between voxel centres: a Path with its holes."""
    from matplotlib.path import Path as Outline
    from skimage.measure import find_contours

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)  # so that every border is closed
    rings = find_contours(part.astype(np.float32), 0.5)
    corners = [ring[:, ::-1] + (left - 1, top - 1) for ring in rings]
    codes = [
        np.r_[Outline.MOVETO, np.full(len(ring) - 2, Outline.LINETO), Outline.CLOSEPOLY] for ring in corners
    ]
    return Outline(np.concatenate(corners), np.concatenate(codes).astype(np.uint8))


class Region(NamedTuple):
    """Where a slice `[row, column]` has one value: the value, how many voxels, and the border, a Path."""

    value: int
    voxels: int
    border: Any


def outlines(values: NDArray[Any]) -> Iterator[Region]:
    """Each value of a slice but 0, ascending; sought in a box of its own, as there may be thousands."""
    from matplotlib.path import Path as Outline
    from scipy.ndimage import find_objects

    found = np.unique(values)
    found = found[found > 0]
    # from 1 on, as find_objects has a place for every number up to the highest
    numbers = np.searchsorted(found, values).astype(np.int32) + (values > 0)
    for number, (value, box) in enumerate(zip(found.tolist(), find_objects(numbers), strict=True), start=1):
        inside = numbers[box] == number
        path = outline(inside)
        moved = path.vertices + np.array((box[1].start, box[0].start))
        yield Region(value, int(np.count_nonzero(inside)), Outline(moved, path.codes))


def draw_letters(figure: Figure, plane: Plane, rect: Rect) -> None:
    """Which way the body lies: a letter inside each edge."""
    x, y, width, height = rect
    inset = 15
    places = (
        (x + inset, y + height / 2),
        (x + width - inset, y + height / 2),
        (x + width / 2, y + inset),
        (x + width / 2, y + height - inset),
    )
    for letter, place in zip(plane.letters, places, strict=bool(plane.letters)):
        _over_image(figure, place, letter, size=15, weight="bold", ha="center")


def draw_scale(figure: Figure, plane: Plane, rect: Rect, unit: str) -> None:
    """A bar of a round length in the lower left corner."""
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    x, y, width, height = rect
    if min(width, height) < 120:
        return
    length = _round_down(plane.size[0] * SCALE_BAR)
    bar = width * length / plane.size[0]
    left, bottom = x + 16, figure.get_figheight() * 72 - (y + height - 16)
    # A dark rim, as the words have, so that the bar is seen on white.
    style: dict[str, Any] = {
        "facecolor": INK,
        "edgecolor": RIM,
        "linewidth": 1.0,
        "transform": IdentityTransform(),
    }
    figure.add_artist(Rectangle((left, bottom), bar, 3, **style))
    _over_image(figure, (left, y + height - 29), _length(length, unit), size=12.5)


def _over_image(figure: Figure, at: tuple[float, float], words: str, **style: Any) -> None:
    """Light words with a dark rim: legible on black and on white."""
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=3, foreground=RIM)]
    write_text(figure, at, words, color=INK, path_effects=rim, **style)


def _round_down(length: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no longer."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))


def _length(length: float, unit: str) -> str:
    """In cm from 1 cm, in mm from 1 mm, in micrometres below."""
    if unit == "px":
        return f"{length:g} px"
    if length >= 10:
        return f"{length / 10:g} cm"
    return f"{length:g} mm" if length >= 1 else f"{length * 1000:g} µm"
