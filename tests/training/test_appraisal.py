import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import nifti, table

from medseg.config import PipelineFile
from medseg.evaluation import evaluate, metrics_named
from medseg.plugin.catalog import discover
from medseg.prediction import Measured, Resources
from medseg.training.appraisal import CANDIDATES, Appraised, Appraiser, calls, chosen_steps, steps_of
from medseg.training.dataset import open_dataset, read_case

LARGEST, FILLED, BOTH = CANDIDATES


def rows(label: str, dice: float | None, hd95: float | None = None) -> tuple[Measured, ...]:
    return (
        Measured(label=label, quantity="dice", value=dice),
        Measured(label=label, quantity="hd95", value=hd95, unit="mm"),
    )


def appraised(label: str, plain: Sequence[float | None], **changed: Sequence[float | None]) -> Appraised:
    """One case with one label: dice and hd95 as predicted, and by the candidates that change it."""
    by = {"largest": LARGEST, "filled": FILLED, "both": BOTH}
    return Appraised(
        "c", 0, rows(label, *plain), {by[name]: {label: rows(label, *each)} for name, each in changed.items()}
    )


# ---- which post-processing


def test_what_raises_the_mean_dice_over_cases_is_chosen() -> None:
    cases = [
        appraised("liver", (0.8, 9), largest=(0.9, 5)),
        appraised("liver", (0.9, 5), largest=(0.85, 5)),
        appraised("liver", (0.7, 5)),  # unchanged: it counts with what it has
    ]
    assert chosen_steps(cases, ["liver"]) == {"liver": LARGEST}
    cases.append(appraised("liver", (0.9, 1), largest=(0.8, 1)))
    assert chosen_steps(cases, ["liver"]) == {}


def test_of_several_the_best() -> None:
    gains = {"largest": (0.82, 5), "filled": (0.85, 5), "both": (0.84, 5)}
    assert chosen_steps([appraised("liver", (0.8, 5), **gains)], ["liver"]) == {"liver": FILLED}


def test_of_equals_the_simplest() -> None:
    gains = {"largest": (0.82, 5), "both": (0.82, 5)}
    assert chosen_steps([appraised("liver", (0.8, 5), **gains)], ["liver"]) == {"liver": LARGEST}


def test_a_gain_too_small_is_none() -> None:
    assert chosen_steps([appraised("liver", (0.8, 5), largest=(0.80005, 5))], ["liver"]) == {}


def test_none_that_raises_the_distance() -> None:
    cases = [appraised("liver", (0.8, 5), largest=(0.9, 5.1), filled=(0.81, 4))]
    assert chosen_steps(cases, ["liver"]) == {"liver": FILLED}


def test_each_label_by_itself() -> None:
    liver = appraised("liver", (0.8, 5), largest=(0.9, 4))
    case = Appraised(
        "c",
        0,
        liver.rows + rows("tumour", 0.5, 9),
        {**liver.changed, FILLED: {"tumour": rows("tumour", 0.6, 9)}},
    )
    assert chosen_steps([case], ["liver", "tumour", "absent"]) == {"liver": LARGEST, "tumour": FILLED}


def test_a_label_without_values_has_none() -> None:
    assert chosen_steps([appraised("liver", (None, None))], ["liver"]) == {}
    assert chosen_steps([], ["liver"]) == {}
    lost = [appraised("liver", (0.5, None), largest=(0.6, None))]  # no distance to compare
    assert chosen_steps(lost, ["liver"]) == {"liver": LARGEST}


def test_rows_with_what_was_chosen() -> None:
    case = Appraised(
        "c",
        0,
        rows("liver", 0.8, 5) + rows("tumour", 0.5, 9),
        {LARGEST: {"liver": rows("liver", 0.9, 4), "tumour": rows("tumour", 0.1, 99)}},
    )
    assert case.with_steps({}) == case.rows
    found = case.with_steps({"liver": LARGEST, "tumour": FILLED})  # which does not change it
    assert [(row.label, row.quantity, row.value) for row in found] == [
        ("liver", "dice", 0.9),
        ("liver", "hd95", 4),
        ("tumour", "dice", 0.5),
        ("tumour", "hd95", 9),
    ]


def test_calls_of_a_candidate() -> None:
    assert [(call.name, call.parameters) for call in calls(BOTH, "a", "b")] == [
        ("medseg/keep-largest", {"labels": ["a", "b"]}),
        ("medseg/fill-holes", {"labels": ["a", "b"]}),
    ]


def test_steps_of_choices_are_grouped() -> None:
    found = steps_of({"a": LARGEST, "b": FILLED, "c": LARGEST})
    assert [(call.name, call.parameters["labels"]) for call in found] == [
        ("medseg/keep-largest", ["a", "c"]),
        ("medseg/fill-holes", ["b"]),
    ]


# ---- a real one


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Two cases whose bright voxels are the label and a speck that is not; a third part is not looked at."""
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[2:8, 2:8, 2:8] = 1
    for name, speck in (("a", True), ("b", False)):
        bright = mask.copy()
        bright[10, 10, 10] = speck
        known = mask.copy()
        known[0, :, :] = 9
        bright[0, 0, 0] = 1  # in what is ignored
        nifti(tmp_path / "data" / "images" / f"{name}.nii.gz", bright.astype(np.float32), np.eye(4))
        nifti(tmp_path / "data" / "labels" / f"{name}.nii.gz", known, np.eye(4))
    table(tmp_path / "data" / "dataset.yaml", "name: boxes", "labels: {1: box}", "ignore: 9")
    return tmp_path / "data"


def test_cases_are_scored_as_predicted_and_by_what_changes_them(boxes: Path, tmp_path: Path) -> None:
    catalog, dataset = discover(), open_dataset(boxes)
    file = PipelineFile.model_validate(
        {"labels": {1: {"name": "box"}}, "segment": {"threshold": {"above": 0.5}}}
    )
    heard: list[tuple[str, int, int]] = []
    resources = Resources(progress=lambda *told: heard.append(told))
    appraiser = Appraiser(dataset, metrics_named("dice, hd95", catalog), catalog, resources)
    kept = tmp_path / "fold0" / "validation"
    kept.parent.mkdir()
    found = appraiser.appraise(dataset.cases, file, folder=tmp_path, fold=2, kept=kept)
    assert heard == [("validate", 1, 2), ("validate", 2, 2)]
    with_speck, without = found
    assert [(each.case, each.fold) for each in found] == [("a", 2), ("b", 2)]
    dice = {row.quantity: row.value for row in with_speck.rows}["dice"]
    assert dice == pytest.approx(2 * 216 / (216 + 217))
    assert {row.quantity: row.value for row in without.rows} == {"dice": 1, "hd95": 0}
    assert without.changed == {}
    assert set(with_speck.changed) == {LARGEST, BOTH}  # there are no holes to fill
    better = {row.quantity: row.value for row in with_speck.changed[LARGEST]["box"]}
    assert better == {"dice": 1, "hd95": 0}
    assert chosen_steps(found, ["box"]) == {"box": LARGEST}

    volume, prediction, reference = appraiser.shown("a", kept, ())
    assert prediction.mask("box").sum() == 217
    assert reference.mask("box").sum() == 216
    assert volume.grid.same_as(prediction.grid)

    # Done once: what is there is taken, whatever the weights would say now.
    record = json.loads(kept.with_suffix(".json").read_text())
    assert [each["case"] for each in record] == ["a", "b"]
    assert appraiser.appraise(dataset.cases, file, folder=tmp_path, fold=2, kept=kept) == found
    assert len(heard) == 2
    kept.with_suffix(".json").write_text("[")  # a damaged one is not
    assert appraiser.appraise(dataset.cases, file, folder=tmp_path, fold=2, kept=kept) == found
    assert len(heard) == 4


# ---- all choices at once


@pytest.fixture
def shells(tmp_path: Path) -> Path:
    """A core with a hole, in a shell that does not touch it; the gap and the hole are the core's in truth.

    By itself either is better filled: the core gains its hole, the shell less the gap than the hole.
    """
    truth, bright = np.zeros((2, 16, 16, 16), np.uint8)
    truth[2:14, 2:14, 2:14] = 1
    bright[truth > 0] = 1
    bright[4:12, 4:12, 4:12] = 0  # a gap of the shell
    truth[4:12, 4:12, 4:12] = 2
    truth[4:12, 4:12, 4:8] = 1
    bright[5:11, 5:11, 5:11] = 2
    bright[7:9, 7:9, 7:9] = 0  # a hole of the core
    nifti(tmp_path / "data" / "images" / "a.nii.gz", bright.astype(np.float32), np.eye(4))
    nifti(tmp_path / "data" / "labels" / "a.nii.gz", truth, np.eye(4))
    table(tmp_path / "data" / "dataset.yaml", "name: shells", "labels: {1: shell, 2: core}")
    return tmp_path / "data"


def test_all_choices_are_scored_at_once_and_what_does_not_gain_is_dropped(
    shells: Path, tmp_path: Path
) -> None:
    catalog, dataset = discover(), open_dataset(shells)
    appraiser = Appraiser(dataset, metrics_named("dice", catalog), catalog, Resources())
    kept = tmp_path / "kept"
    kept.mkdir()
    image = np.asarray(read_case(dataset.cases[0], dataset).volume.array[0], np.uint8)
    np.savez_compressed(kept / "a.npz", labels=image[None])
    _, found, reference = appraiser.shown("a", kept, ())
    plain = appraiser._scored("a", 0, found, read_case(dataset.cases[0], dataset))
    # A core that is filled after the shell finds no hole left: the shell has taken it.
    chosen, final = appraiser.together([plain], {"shell": FILLED, "core": BOTH}, {0: kept})
    assert chosen == {"shell": FILLED}
    _, shipped, _ = appraiser.shown("a", kept, steps_of(chosen))
    assert final[0].rows == evaluate(shipped, reference, appraiser.metrics)
    assert final[0].rows != plain.rows
    # A choice that changes no case gains nothing, and nothing is read for it.
    assert appraiser.together([plain], {"shell": LARGEST}, {0: tmp_path / "nowhere"}) == ({}, (plain,))
