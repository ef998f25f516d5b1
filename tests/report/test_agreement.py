import base64
import io
import statistics

import numpy as np
import pytest
from PIL import Image  # noqa: TID253  # looks at pixels

from medseg.report.agreement import VolumePair, agreements, draw_agreement
from medseg.report.charts import COLOURS

PAIRS = [
    VolumePair("a", "liver", 1510.0, 1500.0, "mL"),
    VolumePair("b", "liver", 1190.0, 1200.0, "mL"),
    VolumePair("c", "liver", 1830.0, 1800.0, "mL"),
    VolumePair("a", "tumour", 12.0, 10.0, "mL"),
    VolumePair("b", "tumour", 0.0, 0.0, "mL"),
    VolumePair("c", "tumour", 0.0, 4.0, "mL"),
]


def test_bias_and_limits_are_those_of_bland_and_altman() -> None:
    (liver,) = agreements(PAIRS)
    assert (liver.label, len(liver.pairs), liver.bias) == ("liver", 3, 10)
    assert (liver.low, liver.high) == pytest.approx((10 - 1.96 * 20, 10 + 1.96 * 20))
    assert statistics.stdev([10.0, -10.0, 30.0]) == 20
    assert [pair.mean for pair in liver.pairs] == [1505, 1195, 1815]


def test_cases_without_the_label_do_not_count() -> None:
    more = [*PAIRS, VolumePair("d", "tumour", 3.0, 0.0, "mL")]
    assert [(row.label, len(row.pairs)) for row in agreements(more)] == [("liver", 3), ("tumour", 3)]


def test_a_frame_for_each_label_says_its_numbers() -> None:
    more = [*PAIRS, VolumePair("d", "tumour", 3.0, 0.0, "mL")]
    picture = draw_agreement(more)
    assert picture is not None
    assert "liver +10.0 mL, \u221229.2 to +49.2" in picture.alt
    assert "tumour +0.333 mL" in picture.alt
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))) as image:
        pixels = np.asarray(image).astype(int)
    for colour in COLOURS[:2]:
        rgb = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        rows, columns = np.nonzero(np.abs(pixels - rgb).max(axis=-1) < 60)
        assert np.ptp(columns) > 600  # in both frames
        assert len(rows) > 200


def test_too_few_cases_are_not_drawn() -> None:
    assert draw_agreement(PAIRS[3:]) is None
    assert draw_agreement([]) is None


def test_volumes_that_are_the_same_can_be_drawn() -> None:
    same = [VolumePair(case, "a", 5.0, 5.0, "px") for case in "abc"]
    picture = draw_agreement(same)
    assert picture is not None
    assert "a 0 px, 0 to 0" in picture.alt


def test_of_many_labels_those_that_agree_least_are_drawn() -> None:
    pairs = [
        VolumePair(case, f"label {n}", 100.0 + n * step, 100.0, "mL")
        for n in range(30)
        for case, step in (("a", 0.0), ("b", 1.0), ("c", -1.0))
    ]
    picture = draw_agreement(pairs)
    assert picture is not None
    assert "The 24 labels that agree least, of 30" in picture.caption
    assert "label 29 " in picture.alt
    assert "label 3 " not in picture.alt
