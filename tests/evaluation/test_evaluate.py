from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest

from medseg.errors import GeometryError, InputError, PipelineError, PluginError, UsageError
from medseg.evaluation import evaluate, evaluate_files, match_files, metrics_named
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric
from medseg.volume import Grid

Painted = Callable[..., Segmentation]
Save = Callable[..., Path]


def values(rows: Iterable[Measured]) -> dict[tuple[str, str], tuple[object, str]]:
    return {(row.quantity, row.label): (row.value, row.flag) for row in rows}


def test_each_metric_of_each_label(painted: Painted) -> None:
    """Cubes of 4 moved by 2 along i, where voxels are 1 mm: half in common, ends 2 mm apart."""
    rows = evaluate(
        painted({1: ("liver", 2), 2: ("spleen", 8)}),
        painted({1: ("liver", 4), 2: ("spleen", 8)}),
        metrics_named(),
    )
    assert values(rows) == {
        ("dice", "liver"): (0.5, ""),
        ("dice", "spleen"): (1.0, ""),
        ("hd95", "liver"): (2.0, ""),
        ("hd95", "spleen"): (0.0, ""),
    }


def test_labels_of_one_alone_are_reported_and_told(painted: Painted) -> None:
    told: list[str] = []
    rows = evaluate(
        painted({1: ("liver", 2), 2: ("made up", 8)}),
        painted({1: ("liver", 2), 3: ("missed", 8)}),
        metrics_named("dice"),
        tell=told.append,
    )
    assert values(rows) == {
        ("dice", "liver"): (1.0, ""),
        ("dice", "missed"): (0.0, "absent from prediction"),
        ("dice", "made up"): (0.0, "absent from reference"),
    }
    assert told == [
        "the reference has no label 'made up': counted as absent from it",
        "the prediction has no label 'missed': counted as absent from it",
    ]


def test_labels_limit_the_rows(painted: Painted) -> None:
    both = painted({1: ("liver", 2), 2: ("spleen", 8)})
    rows = evaluate(both, both, metrics_named("dice"), labels=["spleen", "nowhere"])
    assert values(rows) == {("dice", "spleen"): (1.0, "")}


def test_masks_on_different_grids_are_refused(painted: Painted) -> None:
    one = painted({1: ("liver", 2)})
    moved = np.array(one.grid.affine)
    moved[0, 3] += 5
    two = replace(one, grid=Grid(one.grid.shape, moved))
    with pytest.raises(GeometryError, match="put one onto the other's grid"):
        evaluate(one, two, metrics_named("dice"))


def test_metrics_are_named_as_a_pipeline_file_would() -> None:
    assert [stage.name for stage in metrics_named("hd95, medseg/dice, iou: {}")] == ["hd95", "dice", "iou"]
    with pytest.raises(PipelineError, match=r"metrics\[0\]: no metric is called 'dise'; did you mean 'dice'"):
        metrics_named("dise")
    with pytest.raises(PipelineError, match=r"metrics\[1\].dice.*smooth"):
        metrics_named("hd95, dice: {smooth: 1}")
    with pytest.raises(PipelineError, match=r"metrics\[0\]: a step is a name"):
        metrics_named("3")
    for text in ("dice: {", "", "]"):
        with pytest.raises(UsageError, match="as in dice, hd95"):
            metrics_named(text)


def test_a_metric_may_be_there_twice_where_its_numbers_are_told_apart(painted: Painted) -> None:
    rows = evaluate(
        painted({1: ("liver", 2)}),
        painted({1: ("liver", 4)}),
        metrics_named("nsd: {tolerance_mm: 1}, nsd: {tolerance_mm: 2}"),
    )
    assert [row.quantity for row in rows] == ["nsd@1mm", "nsd@2mm"]
    for text, quantity in (
        ("medseg/dice, dice: {}", "dice"),
        ("lesion-f1, lesion-f1: {threshold: 0.5}", "lesion-f1"),
        ("nsd, nsd: {surface: voxels}", "nsd@1mm"),
    ):
        with pytest.raises(UsageError, match=f"gives {quantity} twice; name it once"):
            metrics_named(text)


class Twice(Metric):
    """Says one thing twice."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        return [Measured(label=label.name, quantity="q", value=1) for label in (*reference.labels,) * 2]


class Endless(Metric):
    """Gives what no table can hold."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        return [Measured(label=label.name, quantity="q", value=float("inf")) for label in reference.labels]


@pytest.mark.parametrize(("step", "said"), [(Twice(), "there already"), (Endless(), "use None and a flag")])
def test_a_metric_that_breaks_its_contract_is_blamed(painted: Painted, step: Metric, said: str) -> None:
    (dice,) = metrics_named("dice")
    theirs = replace(dice, step=step, name="theirs", distribution="medseg-theirs")
    one = painted({1: ("liver", 2)})
    with pytest.raises(PluginError, match=said) as refused:
        evaluate(one, one, [theirs])
    assert "medseg-theirs" in "; ".join(refused.value.__notes__)


# ---- files


def test_cases_have_the_same_labels(tmp_path: Path, save: Save) -> None:
    """In the second case nobody has label 2: no value there, and no 0 and no 1 in the mean."""
    save(tmp_path / "pred" / "a.nii.gz", {1: 2, 2: 8})
    save(tmp_path / "ref" / "a.nii.gz", {1: 2, 2: 6})
    save(tmp_path / "pred" / "b.nii.gz", {1: 4})
    save(tmp_path / "ref" / "b.nii.gz", {1: 2})
    done = evaluate_files(match_files(tmp_path / "pred", tmp_path / "ref"), metrics_named("dice, hd95"))
    first, second = done.cases
    assert values(second.rows)["dice", "label 2"] == (None, "absent from both")
    assert values(second.rows)["hd95", "label 2"] == (None, "absent from both")
    assert {(row.label, row.quantity) for row in first.rows} == {
        (row.label, row.quantity) for row in second.rows
    }
    summary = {(row.metric, row.label): (row.n, row.cases, row.mean) for row in done.summary}
    assert summary["dice", "label 1"] == (2, 2, 0.75)
    assert summary["dice", "label 2"] == (1, 2, 0.5)


def test_what_is_counted_is_counted_where_a_label_is_in_other_cases_alone(tmp_path: Path, save: Save) -> None:
    """One false lesion in ten cases is 0.1 a case; in nine of ten the label is nowhere."""
    for number in range(10):
        save(tmp_path / "pred" / f"{number}.nii.gz", {1: 2, 2: 8} if number == 4 else {1: 2})
        save(tmp_path / "ref" / f"{number}.nii.gz", {1: 2})
    done = evaluate_files(
        match_files(tmp_path / "pred", tmp_path / "ref"),
        metrics_named("lesion-f1, specificity, overall-iou, dice, volume-error"),
    )
    rows = {row.metric: row for row in done.summary if row.label == "label 2"}
    free = 1 - 4 * 4 * 4 / (14 * 12 * 10)
    for metric, mean, n in (
        ("lesions-false", 0.1, 10),
        ("specificity", (9 + free) / 10, 10),
        ("intersection", 0, 10),
        ("union", 64 * 4.5 / 1000 / 10, 10),
        ("dice", 0, 1),
        ("volume-error", 64 * 4.5 / 1000, 1),
    ):
        assert rows[metric].mean == pytest.approx(mean)
        assert (rows[metric].n, rows[metric].cases) == (n, 10)
    assert values(done.cases[0].rows)["lesions-false", "label 2"] == (0, "absent from both")


def test_a_label_missed_by_a_label_map_without_names_is_zero(tmp_path: Path, save: Save) -> None:
    prediction, reference = save(tmp_path / "p.nii.gz", {1: 2}), save(tmp_path / "r.nii.gz", {1: 2, 2: 8})
    done = evaluate_files(match_files(prediction, reference), metrics_named("dice"))
    assert values(done.cases[0].rows)["dice", "label 2"] == (0.0, "absent from prediction")
    assert done.summary[-1].mean == 0.5


def test_notes_hold_no_name_of_a_file(tmp_path: Path, save: Save) -> None:
    prediction = save(tmp_path / "doe_jane.nii.gz", {1: 2}, {1: "liver"})
    reference = save(tmp_path / "ref.nii.gz", {1: 2, 2: 8}, {1: "liver", 2: "doe_jane"})
    (case,) = evaluate_files(match_files(prediction, reference), metrics_named("dice")).cases
    assert case.told == ("the prediction has no label 'doe_jane': counted as absent from it",)
    reference = save(tmp_path / "ref.nii.gz", {1: 2, 2: 8}, {1: "liver", 2: "doe_jane.nii.gz"})
    (case,) = evaluate_files(match_files(prediction, reference), metrics_named("dice")).cases
    assert case.notes == ("the prediction has no label '<prediction>': counted as absent from it",)


def test_what_fails_says_in_which_case(tmp_path: Path, save: Save) -> None:
    for name in ("a", "b"):
        save(tmp_path / "pred" / f"{name}.nii.gz", {1: 2})
        save(tmp_path / "ref" / f"{name}.nii.gz", {1: 2})
    (tmp_path / "pred" / "b.nii.gz").write_bytes(b"no mask")
    seen: list[str] = []
    with pytest.raises(InputError) as refused:
        evaluate_files(
            match_files(tmp_path / "pred", tmp_path / "ref"),
            metrics_named("dice"),
            watcher=lambda case, done, total: seen.append(f"{case} {done}/{total}"),
        )
    assert refused.value.__notes__ == ["case b"]
    assert seen == ["a 1/2"]


def test_no_label_anywhere_and_unknown_names_are_refused(tmp_path: Path, save: Save) -> None:
    none, some = save(tmp_path / "none.nii.gz", {}), save(tmp_path / "some.nii.gz", {1: 2}, {1: "liver"})
    with pytest.raises(InputError, match="no mask has a label"):
        evaluate_files(match_files(none, none), metrics_named("dice"))
    with pytest.raises(UsageError, match="no case has a label 'livre'; did you mean 'liver'"):
        evaluate_files(match_files(some, some), metrics_named("dice"), labels=["livre"])


def test_manual_masks_of_a_real_cohort_agree_with_themselves(real_data: Path, tmp_path: Path) -> None:
    """Hippocampi: moved by a voxel of 1 mm, surfaces are no more than that apart, and overlap mostly."""
    labels = sorted((real_data / "mr_hippocampus_msd").rglob("labels*/*.nii.gz"))[:3]
    assert labels
    for path in labels:
        (tmp_path / "ref").mkdir(exist_ok=True)
        (tmp_path / "pred").mkdir(exist_ok=True)
        image = nib.load(path)
        nib.save(image, tmp_path / "ref" / path.name)
        moved = nib.Nifti1Image(np.roll(np.asarray(image.dataobj), 1, axis=0), image.affine)
        nib.save(moved, tmp_path / "pred" / path.name)
    done = evaluate_files(match_files(tmp_path / "pred", tmp_path / "ref"), metrics_named())
    for row in done.summary:
        assert row.mean is not None
        assert row.n == row.cases
        assert (0.8 < row.mean < 0.99) if row.metric == "dice" else row.mean <= 1.0
