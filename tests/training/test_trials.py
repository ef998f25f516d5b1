from dataclasses import replace
from pathlib import Path

import pytest
import tuning_cases

from medseg.errors import InputError, UsageError
from medseg.evaluation import metrics_named
from medseg.prediction import Measured
from medseg.segmentation import Label, LabelTable
from medseg.training.dataset import open_dataset
from medseg.training.trials import cases_to_tune_on, common_labels, require_quantity


def table(*labels: tuple[int, str]) -> LabelTable:
    return LabelTable(tuple(Label(value, name) for value, name in labels))


def test_labels_that_only_one_has_are_not_looked_at() -> None:
    """Whatever their values: names decide, and a label that no reference has would gain by being removed."""
    ours = table((1, "liver"), (2, "spleen"), (3, "left_kidney"))
    theirs = table((7, "Left kidney"), (8, "liver"), (9, "tumour"))
    assert common_labels(ours, theirs) == (
        ("Left kidney", "liver"),
        ("not looked at, as only one has them: tumour, spleen",),
    )
    assert common_labels(ours, ours) == (("liver", "spleen", "left_kidney"), ())


def test_labels_without_names_are_matched_by_value() -> None:
    assert common_labels(table((1, "liver")), table((1, "label 1")))[0] == ("liver",)


def test_without_a_common_label_there_is_nothing_to_tune_on() -> None:
    with pytest.raises(InputError, match="none in common; name them alike"):
        common_labels(table((1, "liver")), table((1, "spleen")))


def test_cases_kept_for_validation_come_first(tmp_path: Path) -> None:
    for name in "abc":
        tuning_cases.case(tmp_path, name)
    data = open_dataset(tuning_cases.dataset(tmp_path))
    assert cases_to_tune_on(data, None, 0) == (data.cases, ())
    assert cases_to_tune_on(data, 9, 0) == (data.cases, ())
    drawn, notes = cases_to_tune_on(data, 2, 5)
    assert len(drawn) == 2
    assert notes == ("2 of 3 cases are used, drawn by seed 5",)
    assert cases_to_tune_on(data, 2, 5)[0] == drawn

    held = replace(
        data, cases=tuple(replace(c, split="validation" if c.id == "b" else "train") for c in data.cases)
    )
    found, notes = cases_to_tune_on(held, None, 0)
    assert [case.id for case in found] == ["b"]
    assert notes == ("only cases that the dataset keeps for validation are used",)
    with pytest.raises(InputError, match="no case with a mask"):
        cases_to_tune_on(replace(data, cases=()), None, 0)


def test_candidates_are_chosen_by_what_says_how_good_a_case_is() -> None:
    (volume,), (overall,) = metrics_named("volume-error"), metrics_named("overall-iou")
    rows = [
        Measured(label="a", quantity=f"volume-{what}", value=-1.0, unit="mL") for what in ("bias", "error")
    ]
    assert require_quantity(volume, tuple(rows)) == "volume-error"
    sums = [Measured(label="a", quantity=what, value=1.0, unit="mL") for what in ("intersection", "union")]
    with pytest.raises(UsageError, match="has no number for a case to choose by; use dice or iou"):
        require_quantity(overall, tuple(sums))
