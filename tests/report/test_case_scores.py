import math

import numpy as np
import pytest

from medseg.prediction import Measured
from medseg.report.case_scores import CaseScores, label_statistics, metrics_of, worst_first


def scores(case: str, *values: float | None) -> CaseScores:
    rows = (Measured(label=label, quantity="dice", value=v) for label, v in zip("ab", values, strict=True))
    return CaseScores(case, "fold 0", tuple(rows))


def test_statistics_are_of_the_cases_that_have_a_value() -> None:
    a, b = label_statistics([scores("1", 0.2, None), scores("2", 0.4, None), scores("3", 0.9, None)], "ab")
    assert a.mean == pytest.approx(0.5)
    assert (a.median, a.lowest, a.highest, a.n, a.cases) == (0.4, 0.2, 0.9, 3, 3)
    assert a.sd == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert (b.mean, b.sd, b.median, b.lowest, b.highest, b.n, b.cases) == (None,) * 5 + (0, 3)


def test_one_value_has_no_spread() -> None:
    assert label_statistics([scores("1", 0.2, 0.3)], "a")[0].sd is None


def test_words_infinities_and_single_objects_do_not_count() -> None:
    case = CaseScores(
        "1",
        "fold 0",
        (
            Measured(label="a", quantity="dice", value=0.5),
            Measured(label="a", quantity="dice", value=0.1, object=0),
            Measured(label="a", quantity="side", value="left"),
            Measured(label="b", quantity="dice", value=math.inf),
        ),
    )
    assert case.value("dice", "a") == 0.5
    assert case.value("dice", "b") is None
    assert case.value("side", "a") is None
    assert case.mean("dice") == 0.5
    assert metrics_of([case]) == (("dice", ""), ("side", ""))


def test_the_worst_come_first_and_those_without_a_number_last() -> None:
    cases = [scores("d", None, None), scores("c", 0.9, 0.9), scores("b", 0.5, 0.5), scores("a", None, 0.5)]
    assert [case.case for case in worst_first(cases)] == ["a", "b", "c", "d"]


def test_of_a_distance_the_worst_is_the_largest() -> None:
    cases = [
        CaseScores(name, "", (Measured(label="a", quantity="hd95", value=value, unit="mm"),))
        for name, value in (("near", 1.0), ("far", 9.0), ("none", None))
    ]
    assert [case.case for case in worst_first(cases, "hd95", "low")] == ["far", "near", "none"]
    assert [case.case for case in worst_first(cases, "hd95", "high")] == ["near", "far", "none"]
