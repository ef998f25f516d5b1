"""Parameters fitted on cases whose best parameter is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tuning_cases
import yaml
from datasets import nifti, table
from saved_weights import saved
from tuning_cases import BOX, LARGE, OWN, PART, SMALL, SPECK

import medseg
from medseg.builtin.network.unet import Unet
from medseg.errors import InputError, PipelineError, UsageError
from medseg.model import find_model
from medseg.plugin.catalog import discover
from medseg.prediction import Measured, Resources
from medseg.training.tuning import MOST, Standing, Tuned, record, search, standing, tune
from medseg.training.variations import Choice, Variations, parse, variations
from medseg.volume import Grid, Volume

SIZES = f"postprocess[1].below_ml={SMALL},{LARGE}"


def tuned(folder: Path, data: Path, *vary: str, **more: Any) -> Tuned:
    path = tuning_cases.pipeline(folder / "lesions.yaml")
    return tune(path, data, folder / "tuned.yaml", vary=vary, **more)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two cases with a true part and a speck; in one a corner is ignored."""
    folder = tmp_path / "data"
    tuning_cases.case(folder, "a")
    tuning_cases.case(folder, "b", ignored=True)
    return tuning_cases.dataset(folder)


# ---- how good a candidate is


def rows(*values: float | None, flag: str = "", metric: str = "dice") -> tuple[Measured, ...]:
    return tuple(
        Measured(label=f"{n}", quantity=metric, value=value, flag=flag) for n, value in enumerate(values)
    )


def test_the_mean_is_that_of_the_labels_means() -> None:
    found = standing([rows(0.5, 0.9), rows(0.7, None, flag="absent from both")])
    assert found.mean == pytest.approx((0.6 + 0.9) / 2)
    assert found.missing == 0
    assert standing([rows(None)]) == Standing(None, 1)
    assert standing([()]) == Standing(None, 0)


def test_the_better_is_higher_or_lower_by_more_than_rounding() -> None:
    high, low = Standing(0.6, 0), Standing(0.5, 0)
    assert high.above(low, "high")
    assert not low.above(high, "high")
    assert low.above(high, "low")
    assert not Standing(0.5 + 1e-12, 0).above(low, "high")
    assert not low.above(Standing(None, 0), "high")  # where nothing was to be found, nor was


def test_what_leaves_labels_without_a_number_is_never_the_better() -> None:
    """A distance to what is not found is no number: the mean over the others would gain by it."""
    assert not Standing(1.0, 2).above(Standing(9.0, 1), "low")
    assert Standing(9.0, 1).above(Standing(1.0, 2), "low")


# ---- from files to the best value


def test_the_best_value_is_found(tmp_path: Path, data: Path) -> None:
    found = tuned(tmp_path, data, SIZES)
    assert [each.values for each in found.tried] == [(OWN,), (SMALL,), (LARGE,)]
    means = [each.standing.mean for each in found.tried]
    assert means == [
        pytest.approx(dice) for dice in (tuning_cases.dice(SPECK), 1, tuning_cases.dice(0, PART))
    ]
    assert found.best.values == (SMALL,)
    assert [each.values for each in found.ranked] == [(SMALL,), (OWN,), (LARGE,)]
    assert found.without == Standing(1.0, 0)  # either case says the same
    assert (found.metric, found.how) == ("dice", "all 3 combinations")

    text = (tmp_path / "tuned.yaml").read_text()
    assert yaml.safe_load(text)["postprocess"] == ["fill-holes", {"remove-small": {"below_ml": SMALL}}]
    assert text.splitlines()[:5] == [
        "# Tuned on 2 cases of lesions, all 3 combinations.",
        "# Chosen: postprocess[1].below_ml 0.01 instead of 0.001.",
        "# dice, mean over labels and cases: 1.0000, with the values that were there 0.9838.",
        "# These numbers are of the cases that the values were chosen on: expect less of new ones.",
        "# Each subject with what is best on all others: 1.0000.",
    ]
    assert find_model(tmp_path / "tuned.yaml", discover()).card is None


def test_the_files_own_values_win_ties(tmp_path: Path, data: Path) -> None:
    found = tuned(tmp_path, data, "postprocess[1].below_ml=0.002,0.003", "postprocess[0].max_ml=5")
    assert len({each.standing for each in found.tried}) == 1
    assert len(found.tried) == 6
    assert found.best is found.own
    assert record(found)[1] == "Chosen: the values that were there."
    assert yaml.safe_load((tmp_path / "tuned.yaml").read_text()) == yaml.safe_load(
        (tmp_path / "lesions.yaml").read_text()
    )


def test_by_a_distance_low_is_good_and_a_lost_label_is_none(tmp_path: Path, data: Path) -> None:
    found = tuned(tmp_path, data, "postprocess[1].below_ml=0.01,9", metric="hd")
    lost = found.tried[2]
    assert lost.standing == Standing(None, 2)
    assert found.best.values == (0.01,)
    assert found.best.standing == Standing(0, 0)
    assert found.ranked[-1] is lost


def test_what_is_expected_of_new_cases_is_less_where_cases_disagree(tmp_path: Path) -> None:
    """In one case the part is true and has a speck beside it, in the other it is false."""
    folder = tmp_path / "data"
    tuning_cases.case(folder, "a")
    tuning_cases.case(folder, "b", part=False, speck=False)
    found = tuned(tmp_path, tuning_cases.dataset(folder), SIZES)
    wrong = tuning_cases.dice(PART, right=BOX)
    assert found.own.standing.mean == pytest.approx((tuning_cases.dice(SPECK) + wrong) / 2)
    assert found.best.values == (SMALL,)
    assert found.best.standing.mean == pytest.approx((1 + wrong) / 2)
    assert found.without is not None
    assert found.without.mean == pytest.approx((tuning_cases.dice(0, PART) + wrong) / 2)
    assert found.without.above(found.own.standing, "low")  # worse than what was there


def test_many_values_are_searched_with_what_was_found_on_disk(tmp_path: Path, data: Path) -> None:
    values = [round(0.0002 * n, 4) for n in range(1, MOST + 9)]
    found = tuned(tmp_path, data, f"postprocess[1].below_ml={','.join(map(str, values))}")
    assert found.how.startswith("72 of 72 combinations: one parameter at a time")
    assert found.best.values == (0.0082,)  # the first that removes the speck of 0.008 mL
    assert found.best.standing.mean == pytest.approx(1)
    assert found.tried[0].values == (OWN,)


def test_cases_are_limited_and_heard_of(tmp_path: Path, data: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    resources = Resources(progress=lambda *told: heard.append(told))
    found = tuned(tmp_path, data, SIZES, cases=1, seed=3, resources=resources)
    assert heard == [("tune", 1, 1)]
    assert len(found.cases) == 1
    assert found.without is None
    assert record(found)[-1] == "Note: 1 of 2 cases are used, drawn by seed 3."


@pytest.mark.parametrize(
    ("kind", "vary", "more", "said"),
    [
        (PipelineError, ["postprocess[1].belw_ml=1"], {}, "postprocess[1].remove-small.belw_ml: there is no"),
        (UsageError, ["postprocess[7].below_ml=1"], {}, "there is no postprocess[7] in the pipeline"),
        (UsageError, ["postprocess[1].below_ml=0.001"], {}, "names no other values than the pipeline's own"),
        (PipelineError, [SIZES], {"metric": "dce"}, "no metric is called 'dce'; did you mean 'dice'?"),
        (UsageError, [SIZES], {"metric": "dice, iou"}, "name one metric"),
        (UsageError, [SIZES], {"metric": "ece"}, "'ece': compares probabilities"),
        (UsageError, [SIZES], {"metric": "overall-iou"}, "metric overall-iou: has no number for a case"),
    ],
)
def test_what_is_wrong_is_told_before_the_dataset_is_opened(
    tmp_path: Path, kind: type[Exception], vary: list[str], more: dict[str, str], said: str
) -> None:
    with pytest.raises(kind) as caught:
        tuned(tmp_path, tmp_path / "nowhere", *vary, **more)
    assert said in str(caught.value)
    assert not (tmp_path / "tuned.yaml").exists()


def test_an_output_that_is_there_is_refused_first(tmp_path: Path, data: Path) -> None:
    (tmp_path / "tuned.yaml").write_text("mine")
    (data / "images" / "a.nii.gz").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="exists; choose another name or give --overwrite"):
        tuned(tmp_path, data, SIZES)
    with pytest.raises(InputError, match="case a: "):
        tuned(tmp_path, data, SIZES, overwrite=True)
    assert (tmp_path / "tuned.yaml").read_text() == "mine"


def test_a_metric_without_a_number_chooses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    tuning_cases.case(folder, "a")
    path = tuning_cases.pipeline(tmp_path / "p.yaml", "remove-small: {below_ml: 9}")
    data = tuning_cases.dataset(folder)
    with pytest.raises(InputError, match="metric hd95: has no number for any case"):
        tune(path, data, tmp_path / "t.yaml", vary=["postprocess[0].below_ml=8"], metric="hd95")


# ---- one parameter at a time


def many(folder: Path) -> Variations:
    """Two parameters with nine values each: 81 combinations."""
    path = tuning_cases.pipeline(
        folder / "two.yaml", "remove-small: {below_ml: 1}", "smooth-surface: {sigma_mm: 1}"
    )
    values = ",".join(map(str, range(2, 10)))
    texts = [f"postprocess[0].below_ml={values}", f"postprocess[1].sigma_mm={values}"]
    catalog = discover()
    return variations(find_model(path, catalog), [parse(text) for text in texts], catalog)


def test_one_parameter_at_a_time_climbs_a_hill(tmp_path: Path) -> None:
    """Each parameter has a best value of its own."""
    varied = many(tmp_path)
    batches: list[int] = []

    def score(batch: Sequence[Choice]) -> dict[Choice, tuple[tuple[Measured, ...], ...]]:
        batches.append(len(batch))
        return {c: (rows(1 - 0.01 * ((c[0] - 4) ** 2 + (c[1] - 6) ** 2)),) for c in batch}

    found, how = search(varied, score, better="high", seed=1)
    assert next(iter(found)) == (0, 0)
    assert (4, 6) in found
    assert sorted(batches) == [0, 8, 8, 9]  # nothing twice
    assert how.startswith("25 of 81 combinations: one parameter at a time")
    again, _ = search(varied, score, better="high", seed=1)
    assert list(again) == list(found)


def test_nothing_gained_keeps_the_files_own(tmp_path: Path) -> None:
    found, _ = search(many(tmp_path), lambda batch: {c: (rows(0.5),) for c in batch}, better="low", seed=0)
    assert len(found) == 17


# ---- refiners


def test_refiners_are_tried_on_scores_of_one_run(tmp_path: Path, install: Callable[..., None]) -> None:
    """The truth is what the network finds with one of the values: that is the best, and the Dice is 1."""

    install("refining")
    weights = saved(Unet(channels=(4, 8)), tmp_path, outputs=2)
    path = table(
        tmp_path / "net.yaml",
        "labels: {1: {name: liver}}",
        "preprocess: [{resample: {spacing: [2, 2, 2]}}]",
        "segment:",
        "  network:",
        "    architecture: {unet: {channels: [4, 8]}}",
        "    head: softmax",
        f"    weights: [{{path: {weights['path']}, sha256: {weights['sha256']}}}]",
        "    window: {patch: [8, 8, 8]}",
        "refine: [{favour: {look_mm: 4}}]",
        "postprocess: [{remove-small: {below_ml: 0.0001}}]",
    )
    image = np.random.default_rng(0).normal(size=(12, 10, 9)).astype(np.float32)
    grid = Grid(image.shape, np.eye(4))
    true = path.with_name("true.yaml")
    true.write_text(path.read_text().replace("look_mm: 4", "look_mm: 4, by: 0.06"))
    one = Resources(threads=1)
    wanted = medseg.segment(Volume(image[None], grid), model=true, resources=one).segmentation
    assert 0.05 < wanted.mask("liver").mean() < 0.95
    nifti(tmp_path / "data" / "images" / "a.nii.gz", image, np.eye(4))
    nifti(tmp_path / "data" / "labels" / "a.nii.gz", wanted.mask("liver").astype(np.uint8), np.eye(4))
    table(tmp_path / "data" / "dataset.yaml", "name: net", "labels: {1: liver}")

    vary = ["refine[0].by=-0.06,0.06,3", "postprocess[0].below_ml=1000"]
    found = tune(path, tmp_path / "data", tmp_path / "tuned.yaml", vary=vary, resources=one)
    assert len(found.tried) == 8
    assert found.best.values == (0.06, 0.0001)
    assert found.best.standing == Standing(1.0, 0)
    assert sum(each.standing.mean == 0 for each in found.tried) == 4  # all is removed
    after = medseg.segment(Volume(image[None], grid), model=tmp_path / "tuned.yaml", resources=one)
    assert np.array_equal(after.segmentation.array, wanted.array)
