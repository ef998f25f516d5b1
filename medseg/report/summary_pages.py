"""A finished case as pages for viewers that show pictures only, each with a banner that cannot be cut off."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.prediction import Measured
from medseg.report import key_images, preview, result_table
from medseg.report.key_images import KeyImage
from medseg.report.lettering import write_text
from medseg.report.panels import GROUND
from medseg.segmentation import Segmentation
from medseg.volume import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BANNER", "Page", "summary_pages"]

BANNER = "RESEARCH USE ONLY \u2013 NOT FOR DIAGNOSIS"
BAND = 52  # pixels
NARROWEST = 720  # the banner is 610 wide
SIGNAL, DARK = "#f0b95a", "#14171c"


@dataclass(frozen=True, eq=False)
class Page:
    """A picture, red, green and blue `[row, column, 3]`, and in words what it shows."""

    picture: NDArray[np.uint8] = field(repr=False)
    words: str


def summary_pages(
    volume: Volume,
    segmentation: Segmentation,
    *,
    measurements: Iterable[Measured] = (),
    lesions: Sequence[KeyImage] = (),
    title: str = "",
    notes: Sequence[str] = (),
) -> list[Page]:
    """The preview with its legend, the largest lesions where there are any, and the table of labels."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of a cache that cannot be written
    known = tuple(measurements)
    figure = preview.compose(volume, segmentation, measurements=known, title=title, notes=notes)
    pages = [Page(_drawn(figure), "Labels over the image")]
    if lesions:
        pages.append(Page(_drawn(key_images.compose(volume, lesions, title=title)), "Largest lesions"))
    tables = result_table.compose(result_table.rows_of(segmentation, known), title=title)
    return pages + [Page(_drawn(table), "Table of labels") for table in tables]


def _drawn(figure: Figure) -> NDArray[np.uint8]:
    """The figure in pixels, with the banner above, and wide enough for it."""
    from matplotlib.figure import Figure

    picture = _pixels(figure)
    lacking = max(0, NARROWEST - picture.shape[1])
    if lacking:
        width, left = picture.shape[1] + lacking, lacking // 2
        wide = np.empty((len(picture), width, 3), np.uint8)
        wide[:] = tuple(bytes.fromhex(GROUND[1:]))
        wide[:, left : left + picture.shape[1]] = picture
        picture = wide
    width = picture.shape[1]
    band = Figure(figsize=(width / 72, BAND / 72), dpi=72, facecolor=SIGNAL)
    write_text(band, (width / 2, BAND / 2), BANNER, size=24, weight="bold", color=DARK, ha="center")
    return np.concatenate([_pixels(band), picture])


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    canvas.draw()
    return np.array(canvas.buffer_rgba(), np.uint8)[..., :3].copy()
