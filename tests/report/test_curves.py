import base64
import io
import math

import numpy as np
from PIL import Image  # noqa: TID253  # looks at pixels

from medseg.report.charts import Picture
from medseg.report.curves import FRAME, LEFT, TALL, TOP, FoldCurve, draw_curves, draw_label_curves
from medseg.segmentation import Label, LabelTable

BLUE, VERMILION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def pixels(picture: Picture | None) -> np.ndarray:
    assert picture is not None
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        return np.asarray(image)


def of_loss(*losses: float) -> FoldCurve:
    return FoldCurve("fold 0", [{"epoch": n, "loss": loss} for n, loss in enumerate(losses, 1)])


def heights(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The mean row of a colour in each column of the first frame; NaN where there is none."""
    frame = picture[int(TOP) : int(TOP + TALL), LEFT : int(LEFT + FRAME)]
    found = np.all(np.abs(frame.astype(int) - colour) < 60, axis=-1)
    rows = np.arange(len(frame))[:, None]
    count = found.sum(axis=0)
    return np.where(count, (rows * found).sum(axis=0) / np.maximum(count, 1), np.nan)


def test_a_line_follows_the_log() -> None:
    falling = heights(pixels(draw_curves([of_loss(*np.linspace(2, 0, 60))])), BLUE)
    drawn = np.flatnonzero(~np.isnan(falling))
    assert len(drawn) > 0.8 * FRAME
    expected = np.interp(drawn, [drawn[0], drawn[-1]], [TALL / 22, TALL * 21 / 22])  # margins of 5 %
    assert np.abs(falling[drawn] - expected).max() < 5
    rising = heights(pixels(draw_curves([of_loss(*np.linspace(0, 2, 60))])), BLUE)
    assert np.abs(rising[drawn][::-1] - expected).max() < 5


def test_each_fold_has_its_line() -> None:
    high, low = of_loss(*[2.0] * 60), FoldCurve("fold 1", of_loss(*[1.0] * 60).rows)
    picture = pixels(draw_curves([high, low]))
    assert np.nanmean(heights(picture, BLUE)) < TALL * 0.1
    assert np.nanmean(heights(picture, VERMILION)) > TALL * 0.9


def test_one_epoch_is_a_point() -> None:
    assert np.isfinite(heights(pixels(draw_curves([of_loss(1.0)])), BLUE)).sum() >= 5


def test_epochs_without_validation_are_left_out() -> None:
    rows: list[dict[str, float | int | None]] = [
        {"epoch": 1, "loss": 1.0},
        {"epoch": 2, "loss": math.nan, "dice_mean": 0.7},
        {"epoch": 3, "dice_mean": None},
        {"epoch": 4, "dice_mean": 0.7},
        {"epoch": 5, "dice_mean": 0.6},
    ]
    curve = FoldCurve("fold 0", rows)
    assert curve.points("loss") == ([1.0], [1.0])
    assert curve.points("dice_mean") == ([2.0, 4.0, 5.0], [0.7, 0.7, 0.6])
    assert curve.best("dice_mean") == (0.7, 2.0)
    assert curve.last("dice_mean") == 0.6
    assert curve.best("rate") is None


def test_labels_that_ended_lowest_are_drawn_where_there_are_many() -> None:
    labels = LabelTable(tuple(Label(n, f"{n:02d}") for n in range(1, 31)))
    row: dict[str, float | int | None] = {"epoch": 1} | {f"dice {n:02d}": n / 30 for n in range(1, 31)}
    picture = draw_label_curves([FoldCurve("fold 0", [row])], labels)
    assert picture is not None
    assert picture.caption == "The 24 labels that ended lowest; 6 more are not drawn."
    assert "24 0.800" in picture.alt
    assert "25 0.833" not in picture.alt


def test_nothing_is_drawn_of_nothing() -> None:
    labels = LabelTable((Label(1, "a"), Label(2, "b")))
    assert draw_curves([]) is None
    assert draw_curves([FoldCurve("fold 0", [])]) is None
    assert draw_label_curves([of_loss(1.0)], labels) is None
    assert (
        draw_label_curves([FoldCurve("f", [{"epoch": 1, "dice a": 1.0}])], LabelTable((Label(1, "a"),)))
        is None
    )
