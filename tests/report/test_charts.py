import base64
import io

import numpy as np
from PIL import Image  # noqa: TID253  # looks at pixels

from medseg.report.charts import COLOURS, FoldLegend, chart_axes, chart_figure, fold_styles, picture_of


def test_folds_differ_in_colour_and_stroke_and_keep_their_look() -> None:
    styles = fold_styles(f"fold {n}" for n in range(12))
    assert len({(style.colour, str(style.stroke)) for style in styles.values()}) == 12
    assert len({(style.colour, style.marker) for style in styles.values()}) == 12
    assert fold_styles(["fold 0", "fold 1"])["fold 1"] == styles["fold 1"]


def test_a_legend_takes_as_many_lines_as_it_needs() -> None:
    styles = tuple(fold_styles(f"fold {n}" for n in range(10)).values())
    assert FoldLegend(styles[:3], 1400).height == FoldLegend(styles[:1], 1400).height
    assert FoldLegend(styles, 150).height == 10 * FoldLegend(styles[:1], 150).height


def test_a_frame_lies_at_its_pixels() -> None:
    figure = chart_figure(200, 400)
    axes = chart_axes(figure, (100, 50, 250, 80))
    axes.set(xlim=(0, 250), ylim=(0, 80))
    axes.fill_between([0, 250], 0, 80, color=COLOURS[1], zorder=5)
    picture = picture_of(figure, "a frame")
    assert (picture.width, picture.height) == (400, 200)
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        filled = np.all(np.asarray(image) == (0xD5, 0x5E, 0), axis=-1)
    rows, columns = np.nonzero(filled)
    assert abs(rows.min() - 50) + abs(rows.max() - 129) <= 3
    assert abs(columns.min() - 100) + abs(columns.max() - 349) <= 3
