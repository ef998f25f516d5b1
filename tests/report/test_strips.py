import base64
import io

import numpy as np
from PIL import Image  # noqa: TID253  # looks at pixels

from medseg.prediction import Measured
from medseg.report.case_scores import CaseScores
from medseg.report.strips import draw_strips
from medseg.segmentation import Label, LabelTable

LABELS = LabelTable((Label(1, "a"), Label(2, "b")))
BLUE, VERMILION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def scored(case: str, fold: str, a: float | None, b: float | None = None) -> CaseScores:
    rows = (Measured(label=label, quantity="dice", value=v) for label, v in (("a", a), ("b", b)))
    return CaseScores(case, fold, tuple(rows))


def points(cases: list[CaseScores], colour: tuple[int, int, int]) -> np.ndarray:
    """The columns of a colour above the legend, which is in the last 90 rows."""
    picture = draw_strips(cases, LABELS, ["fold 0", "fold 1"])
    assert picture is not None
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        found = np.all(np.abs(np.asarray(image)[:-90].astype(int) - colour) < 60, axis=-1)
    return np.flatnonzero(found.any(axis=0))


def test_a_point_lies_where_its_dice_is_in_the_colour_of_its_fold() -> None:
    cases = [scored("1", "fold 0", 0.1), scored("2", "fold 1", 0.5), scored("3", "fold 0", 0.9)]
    blue, vermilion = points(cases, BLUE), points(cases, VERMILION)
    low, high = blue[blue < vermilion.min()], blue[blue > vermilion.max()]
    assert abs((low.mean() + high.mean()) / 2 - vermilion.mean()) < 2  # 0.5 is half-way
    assert abs((high.mean() - low.mean()) / 0.8 - 1600 * 0.75) < 200  # 0 to 1 fill most of the picture


def test_says_the_numbers_in_words() -> None:
    picture = draw_strips([scored("1", "fold 0", 0.2), scored("2", "fold 0", 0.4)], LABELS, ["fold 0"])
    assert picture is not None
    assert "a median 0.300, lowest 0.200" in picture.alt
    assert "b median" not in picture.alt


def test_a_fold_without_a_curve_is_drawn_too() -> None:
    assert draw_strips([scored("1", "elsewhere", 0.2)], LABELS, ["fold 0"]) is not None


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw_strips([], LABELS, ["fold 0"]) is None
    assert draw_strips([scored("1", "fold 0", None)], LABELS, ["fold 0"]) is None


def test_any_metric_can_be_drawn_as_far_as_it_reaches() -> None:
    cases = [
        CaseScores(str(n), "", (Measured(label="a", quantity="hd95", value=value, unit="mm"),))
        for n, value in enumerate((2.0, 4.0, 30.0))
    ]
    picture = draw_strips(cases, ["a", "b"], [], metric="hd95", unit="mm")
    assert picture is not None
    assert "a median 4.00 mm, highest 30.00 mm" in picture.alt
    assert draw_strips(cases, ["a"], [], metric="hd95", unit="px") is None
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        blue = np.all(np.abs(np.asarray(image).astype(int) - BLUE) < 60, axis=-1)
    columns = np.flatnonzero(blue.any(axis=0))  # 30 mm is at the right end, as no legend shows the colour
    assert np.ptp(columns) > 0.8 * 1600 * 0.75


def test_small_errors_without_a_unit_fill_the_axis() -> None:
    cases = [
        CaseScores(str(n), "", (Measured(label="a", quantity="ece", value=value),))
        for n, value in enumerate((0.001, 0.002, 0.008))
    ]
    picture = draw_strips(cases, ["a"], [], metric="ece", error=True)
    assert picture is not None
    assert "a median 0.002, highest 0.008" in picture.alt
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        blue = np.all(np.abs(np.asarray(image).astype(int) - BLUE) < 60, axis=-1)
    assert np.ptp(np.flatnonzero(blue.any(axis=0))) > 0.8 * 1600 * 0.75


def test_values_below_nothing_are_in_the_picture() -> None:
    cases = [
        CaseScores(str(n), "", (Measured(label="a", quantity="volume-bias", value=value, unit="mL"),))
        for n, value in enumerate((-8.0, 0.0, 8.0))
    ]
    picture = draw_strips(cases, ["a"], [], metric="volume-bias", unit="mL")
    assert picture is not None
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        blue = np.all(np.abs(np.asarray(image).astype(int) - BLUE) < 60, axis=-1)
    assert np.ptp(np.flatnonzero(blue.any(axis=0))) > 0.8 * 1600 * 0.75
