import pytest

from medseg.evaluation.summary import ALL_LABELS, summarise
from medseg.prediction import Measured


def dice(label: str, value: float | None, unit: str = "") -> Measured:
    return Measured(label=label, quantity="dice", value=value, unit=unit)


def test_statistics_by_hand() -> None:
    liver, tumour, over = summarise(
        [
            [dice("liver", 0.9), dice("tumour", 0.5)],
            [dice("liver", 0.8), dice("tumour", None)],
            [dice("liver", 0.4), dice("tumour", None)],
        ]
    )
    assert (liver.label, liver.cases, liver.n) == ("liver", 3, 3)
    assert liver.mean == pytest.approx(0.7)
    assert liver.sd == pytest.approx((0.2**2 + 0.1**2 + 0.3**2) ** 0.5 / 2**0.5)
    assert (liver.median, liver.min, liver.max) == (0.8, 0.4, 0.9)
    assert (tumour.cases, tumour.n, tumour.mean, tumour.sd) == (3, 1, 0.5, None)
    assert (over.label, over.cases, over.n) == (ALL_LABELS, 2, 2)
    assert over.mean == pytest.approx((0.7 + 0.5) / 2)


def test_a_label_without_any_value_counts_in_no_mean() -> None:
    _, none, over = summarise([[dice("liver", 0.9), dice("tumour", None)]])
    assert (none.n, none.mean, none.median, none.min, none.max) == (0, None, None, None, None)
    assert (over.cases, over.n, over.mean) == (2, 1, 0.9)


def test_units_words_and_objects_stay_apart() -> None:
    word = Measured(label="a", quantity="grade", value="good")
    single = Measured(label="a", quantity="dice", value=0.1, object=3)
    rows = summarise([[dice("a", 1.0, "mm"), word, single], [dice("a", 3.0, "px")]])
    assert [(row.label, row.unit, row.mean) for row in rows if row.label == "a"] == [
        ("a", "mm", 1.0),
        ("a", "px", 3.0),
    ]
    assert {row.metric for row in rows} == {"dice"}
