import logging
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

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


def test_without_groups_or_a_second_one_there_are_no_intervals() -> None:
    cases = [[dice("liver", 0.9)], [dice("liver", 0.8)]]
    for groups in (None, ["one", "one"]):
        assert {row.mean_low for row in summarise(cases, groups=groups)} == {None}


def test_intervals_lie_about_mean_and_median() -> None:
    values = np.random.default_rng(1).uniform(0.5, 1, 40)
    cases = [
        [dice("liver", float(value)), dice("tumour", None if n else 0.5)] for n, value in enumerate(values)
    ]
    liver, tumour, over = summarise(cases, groups=[str(n) for n in range(40)])
    assert liver.mean_low is not None
    assert liver.mean_high is not None
    assert liver.mean is not None
    assert liver.mean_low < liver.mean < liver.mean_high
    assert liver.mean_high - liver.mean_low == pytest.approx(2 * 1.96 * values.std() / 40**0.5, rel=0.1)
    assert liver.median_low <= liver.median <= liver.median_high  # type: ignore[operator]  # checked above
    assert (tumour.n, tumour.mean_low, tumour.mean_high) == (1, None, None)
    assert over.mean_low is not None
    assert over == summarise(cases, groups=[str(n) for n in range(40)])[2]


class Ratio:
    """A part over a whole, of sums."""

    def pooled(self, sums: Mapping[str, NDArray[np.float64]]) -> Mapping[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore"):
            return {"ratio": sums["part"] / sums["whole"]}


def counts(label: str, part: int, whole: int) -> list[Measured]:
    return [
        Measured(label=label, quantity="ratio", value=part / whole if whole else None),
        Measured(label=label, quantity="part", value=part),
        Measured(label=label, quantity="whole", value=whole),
    ]


def test_a_number_of_all_cases_together_is_made_of_sums() -> None:
    cases = [counts("a", 1, 2) + counts("b", 0, 0), counts("a", 0, 8) + counts("b", 0, 0), counts("a", 3, 5)]
    rows = {(row.metric, row.label): row for row in summarise(cases, groups=["1", "2", "3"], pools=[Ratio()])}
    ratio = rows["ratio", "a"]
    assert ratio.mean == pytest.approx((0.5 + 0 + 0.6) / 3)
    assert ratio.pooled == pytest.approx(4 / 15)
    assert ratio.pooled_low == 0
    assert ratio.pooled_high == pytest.approx(0.6)
    assert rows["ratio", "b"].pooled is None
    assert rows["ratio", ALL_LABELS].pooled is None


def test_sums_in_two_units_make_no_number_of_all_cases(caplog: pytest.LogCaptureFixture) -> None:
    """A volume in mm and a picture in pixels: each has its rows, but nothing is added up."""
    cases = [
        [Measured(label="a", quantity=what, value=1.0, unit=unit) for what in ("part", "whole")]
        for unit in ("mL", "px")
    ]
    with caplog.at_level(logging.WARNING):
        rows = summarise(cases, groups=["1", "2"], pools=[Ratio()])
    assert [(row.metric, row.unit, row.n) for row in rows if row.label == "a"] == [
        (what, unit, 1) for unit in ("mL", "px") for what in ("part", "whole")
    ]
    assert caplog.messages == ["no number of all cases together: part is in mL and px"]


def test_a_quantity_in_two_units_keeps_its_rows_beside_what_is_pooled() -> None:
    cases = [[*counts("a", 1, 2), dice("a", 1.0, "mm")], [*counts("a", 3, 4), dice("a", 3.0, "px")]]
    rows = [row for row in summarise(cases, pools=[Ratio()]) if row.label == "a"]
    assert [(row.metric, row.unit) for row in rows] == [
        *(("ratio", ""), ("part", ""), ("whole", "")),
        *(("dice", "mm"), ("dice", "px")),
    ]
    assert rows[0].pooled == pytest.approx(4 / 6)


def test_a_sum_that_no_metric_gives_is_a_fault_of_the_metric() -> None:
    with pytest.raises(KeyError, match="part"):
        summarise([[dice("a", 1.0)]], pools=[Ratio()])
