"""A case that went badly, drawn: the outlines of reference and prediction where they differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.report.charts import Picture, chart_figure, picture_of
from medseg.report.legend import INK
from medseg.report.lettering import write_text
from medseg.report.panels import (
    CAPTION,
    GROUND,
    GUTTER,
    RIM,
    THINNEST,
    draw_letters,
    draw_panel,
    draw_scale,
    outlines,
    shades,
)
from medseg.report.planes import Plane, planes_of
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PREDICTION", "REFERENCE", "WorstCase", "draw_worst_case"]

# Two of Okabe and Ito's colours that are light enough for a dark image; stroke and width differ as well.
REFERENCE, PREDICTION = "#56b4e9", "#e69f00"
REFERENCE_LINE: dict[str, Any] = {"linewidth": 3.5, "linestyle": "solid"}
PREDICTION_LINE: dict[str, Any] = {"linewidth": 3.0, "linestyle": (0, (3, 1.4))}
WIDTH, MARGIN, FOOTER = 1400, 28, 56
NARROWEST = 560  # room for the legend
TALLEST = 460.0
MOST_LABELS = 4
AROUND = 1.7  # of the masks' size is shown, so that one sees where they lie
FEWEST_VOXELS = 24  # shown along each axis, so that a voxel is not blown up into a mosaic
NARROW = 0.65  # at least this share of the longer side

Mask = NDArray[np.bool_]
Regions = NDArray[Any]  # 0 outside, another number in each region


@dataclass(frozen=True)
class WorstCase:
    """A case with its image, what was found and what should have been; Dice by label, None where none."""

    case: str
    fold: str
    volume: Volume = field(repr=False)
    prediction: Segmentation = field(repr=False)
    reference: Segmentation = field(repr=False)
    dice: Mapping[str, float | None]


def draw_worst_case(worst: WorstCase) -> tuple[Picture, ...]:
    """A picture for each label in which both differ, the lowest Dice first, at most four.

    Each plane stands at the slice where most voxels differ, cut to the surroundings of both masks there.
    Every object has an outline of its own; where one side alone has a border between objects, the two differ.
    """
    prediction, reference = worst.prediction.onto(worst.volume.grid), worst.reference.onto(worst.volume.grid)
    names = dict.fromkeys(label.name for labels in (reference.labels, prediction.labels) for label in labels)

    def both(name: str) -> tuple[Regions, Regions]:
        """Made anew each time: those of all labels take much memory."""
        return _regions(reference, name), _regions(prediction, name)

    differing = [name for name in names if _differing(*both(name)).any()]
    chosen = sorted(differing, key=lambda name: _rank(worst.dice.get(name)))[:MOST_LABELS]
    return tuple(_draw_label(worst, name, *both(name)) for name in chosen)


def _rank(dice: float | None) -> float:
    return 2.0 if dice is None else dice  # after all that have one


def _regions(segmentation: Segmentation, name: str) -> Regions:
    """Where a label is: the ids of its objects, or 1; nowhere, if the segmentation does not know it."""
    if name not in segmentation.labels:
        return np.zeros(segmentation.grid.shape, np.uint8)
    layer, mask = segmentation.labels[name].layer, segmentation.mask(name)
    return np.where(mask, segmentation.array[layer], 0) if segmentation.kinds[layer] == "objects" else mask


def _differing(reference: Regions, prediction: Regions) -> Mask:
    """Where one has a region and the other none, or one a border between regions and the other none."""
    from skimage.segmentation import find_boundaries

    found = (reference > 0) != (prediction > 0)
    if max(reference.max(initial=0), prediction.max(initial=0)) > 1:
        found |= find_boundaries(reference, mode="inner") != find_boundaries(prediction, mode="inner")
    return np.asarray(found)


def _draw_label(worst: WorstCase, name: str, reference: Regions, prediction: Regions) -> Picture:
    """The planes of one label side by side, with a legend below."""
    cuts = _cuts(worst.volume, reference, prediction)
    rects = _row([cut.plane for cut in cuts])
    right, bottom = rects[-1][0] + rects[-1][2], rects[-1][1] + rects[-1][3]
    figure = chart_figure(bottom + FOOTER, max(NARROWEST, right + MARGIN), GROUND)
    for cut, rect in zip(cuts, rects, strict=True):
        axes = draw_panel(figure, cut.plane, cut.of_slice(cut.shade), rect)
        _draw_outline(axes, cut.of(reference), REFERENCE, REFERENCE_LINE)
        _draw_outline(axes, cut.of(prediction), PREDICTION, PREDICTION_LINE)
        draw_letters(figure, cut.plane, rect)
        draw_scale(figure, cut.plane, rect, worst.volume.grid.unit)
    _draw_legend(figure, bottom + FOOTER / 2)
    dice = worst.dice.get(name)
    said = "no Dice" if dice is None else f"Dice {dice:.3f}"
    where = ", ".join(f"{cut.plane.name} {cut.plane.where}".strip() for cut in cuts)
    alt = (
        f"Case {worst.case}, {name}, {said}: outlines of the reference (solid, blue) and of the prediction "
        f"(dashed, orange) over the image, at {where}."
    )
    return picture_of(figure, alt, f"{name}: {said}{_missing(reference, prediction)}")


@dataclass(frozen=True)
class _Cut:
    """A part of a slice: the plane at the part's size, its rows and columns, the grey values of it all."""

    plane: Plane
    part: tuple[slice, slice]
    shade: NDArray[np.uint8]

    def of_slice(self, values: NDArray[Any]) -> NDArray[Any]:
        """The part of a slice `[row, column, …]`."""
        return values[self.part]

    def of(self, array: Regions) -> Regions:
        """The part of an array `[i, j, k]`."""
        return self.of_slice(self.plane.of(array))


def _cuts(volume: Volume, reference: Regions, prediction: Regions) -> list[_Cut]:
    """What to show: every plane that is worth drawing, at the slice where most voxels differ."""
    differing = _differing(reference, prediction)
    labels = Segmentation(differing.astype(np.uint8)[None], volume.grid, LabelTable((Label(1, "differing"),)))
    planes = [_where_most(plane, differing) for plane in planes_of(volume, labels)]
    cuts = []
    for plane, shade in zip(planes, shades(volume, planes), strict=True):
        rows, columns = part = _part(plane, plane.of((reference > 0) | (prediction > 0)))
        size = (
            plane.size[0] * (columns.stop - columns.start) / shade.shape[1],
            plane.size[1] * (rows.stop - rows.start) / shade.shape[0],
        )
        cuts.append(_Cut(replace(plane, size=size), part, shade))
    return cuts


def _missing(reference: Regions, prediction: Regions) -> str:
    if not prediction.any():
        return ", not found at all"
    return "" if reference.any() else ", found where there is none"


def _where_most(plane: Plane, mask: Mask) -> Plane:
    """The plane, moved to the slice that has most voxels of a mask."""
    native = plane.view.order[plane.axis]
    others = tuple(axis for axis in range(3) if axis != native)
    index = int(np.argmax(np.count_nonzero(mask, axis=others)))
    forward = plane.view.signs[plane.axis] > 0
    return replace(
        plane,
        index=index if forward else mask.shape[native] - 1 - index,
        where=f"{'ijk'[native]} = {index}",
    )


def _part(plane: Plane, mask: Mask) -> tuple[slice, slice]:
    """Rows and columns to show of a slice `[row, column]`: around the mask, not tiny, not a narrow strip."""
    spans = []
    for axis in (0, 1):
        there = np.flatnonzero(mask.any(axis=1 - axis))
        spans.append((int(there[0]), int(there[-1]) + 1))
    voxel = (plane.size[1] / mask.shape[0], plane.size[0] / mask.shape[1])
    wanted = [
        max(AROUND * (stop - start), FEWEST_VOXELS) * step
        for (start, stop), step in zip(spans, voxel, strict=True)
    ]
    longest = max(min(w, n * step) for w, n, step in zip(wanted, mask.shape, voxel, strict=True))
    rows, columns = (
        _around(span, max(size, NARROW * longest) / step, n)
        for span, size, step, n in zip(spans, wanted, voxel, mask.shape, strict=True)
    )
    return rows, columns


def _around(span: tuple[int, int], length: float, size: int) -> slice:
    """`length` voxels with a span in their middle, moved to where there are any."""
    count = min(size, max(span[1] - span[0], round(length)))
    start = min(max(0, round((span[0] + span[1] - count) / 2)), size - count)
    return slice(start, start + count)


def _row(planes: Sequence[Plane]) -> list[tuple[float, float, float, float]]:
    """Panels of one height side by side."""
    aspects = [min(max(plane.aspect, 1 / THINNEST), THINNEST) for plane in planes]
    height = min(TALLEST, (WIDTH - 2 * MARGIN - GUTTER * (len(aspects) - 1)) / sum(aspects))
    top = CAPTION + 10.0 if planes[0].name else float(GUTTER)
    x, rects = float(MARGIN), list[tuple[float, float, float, float]]()
    for aspect in aspects:
        rects.append((round(x), top, max(1, round(aspect * height)), max(1, round(height))))
        x += aspect * height + GUTTER
    return rects


def _draw_outline(axes: Axes, regions: Regions, colour: str, line: Mapping[str, Any]) -> None:
    """The border of each region in this slice, with a dark rim to be seen on white."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline
    from matplotlib.patheffects import withStroke

    paths = [region.border for region in outlines(regions)]
    if paths:
        rim = [withStroke(linewidth=line["linewidth"] + 2, foreground=RIM)]
        path = Outline.make_compound_path(*paths)
        # not add_patch, which would seek its extent, of thousands of borders for half a minute
        axes.add_artist(
            PathPatch(path, facecolor="none", edgecolor=colour, zorder=3, path_effects=rim, **line)
        )


def _draw_legend(figure: Figure, y: float) -> None:
    """Which line is which."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import IdentityTransform

    x, up = float(MARGIN), figure.get_figheight() * 72 - y
    for words, colour, line in (
        ("reference", REFERENCE, REFERENCE_LINE),
        ("prediction", PREDICTION, PREDICTION_LINE),
    ):
        place = IdentityTransform()
        figure.add_artist(Line2D([x, x + 60], [up, up], color=colour, transform=place, **line))
        write_text(figure, (x + 74, y), words, size=19, color=INK)
        x += 74 + 150
