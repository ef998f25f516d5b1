import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import UsageError
from medseg.evaluation import Evaluation, evaluate_files, match_files, metrics_named
from medseg.evaluation.record import require_free, write_evaluation
from medseg.evaluation.worst import worst_cases
from medseg.run.provenance import sha256_of

Save = Callable[..., Path]


@pytest.fixture
def evaluation(tmp_path: Path, save: Save) -> Evaluation:
    prediction = save(tmp_path / "Jane.nii.gz", {1: 2, 2: 8}, {1: "liver", 2: "=tumour"})
    reference = save(tmp_path / "case-1.nii.gz", {1: 4}, {1: "liver", 2: "=tumour"})
    return evaluate_files(match_files(prediction, reference), metrics_named())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_and_record(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path / "eval", overwrite=False)
    cases = rows(tmp_path / "eval" / "cases.csv")
    assert list(cases[0]) == ["case", "label", "metric", "value", "unit", "flag", "object"]
    assert [tuple(row.values())[:6] for row in cases] == [
        ("case-1", "liver", "dice", "0.5", "", ""),
        ("case-1", "'=tumour", "dice", "0.0", "", "absent from reference"),
        ("case-1", "liver", "hd95", "2.0", "mm", ""),
        ("case-1", "'=tumour", "hd95", "", "mm", "absent from reference"),
    ]
    summary = rows(tmp_path / "eval" / "summary.csv")
    assert [(row["metric"], row["label"], row["cases"], row["n"], row["mean"]) for row in summary] == [
        ("dice", "liver", "1", "1", "0.5"),
        ("dice", "'=tumour", "1", "1", "0.0"),
        ("dice", "(mean of labels)", "2", "2", "0.25"),
        ("hd95", "liver", "1", "1", "2.0"),
        ("hd95", "'=tumour", "1", "0", ""),
        ("hd95", "(mean of labels)", "2", "1", "2.0"),
    ]
    text = (tmp_path / "eval" / "evaluation.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["metrics"] == [{"medseg/dice": {}}, {"medseg/hd95": {}}]
    assert record["cases"][0]["prediction_sha256"] == [sha256_of(tmp_path / "Jane.nii.gz")]
    assert record["intervals"] == {"level": 0.95, "resamples": 2000, "seed": 0, "over": "cases"}
    assert record["cases"][0]["volumes"][0] == {
        "label": "liver",
        "prediction": 0.288,
        "reference": 0.288,
        "unit": "mL",
    }
    assert record["outputs"]["cases.csv"] == sha256_of(tmp_path / "eval" / "cases.csv")
    assert "Jane" not in text
    assert str(tmp_path) not in text


def test_only_an_evaluation_is_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "eval"
    require_free(out, overwrite=False)
    write_evaluation(evaluation, out, overwrite=False)
    with pytest.raises(UsageError, match="--overwrite"):
        require_free(out, overwrite=False)
    with pytest.raises(UsageError, match="--overwrite"):
        write_evaluation(evaluation, out, overwrite=False)
    write_evaluation(evaluation, out, overwrite=True)
    (out / "notes.txt").write_text("precious")
    with pytest.raises(UsageError, match=r"notes\.txt was not written by medseg"):
        write_evaluation(evaluation, out, overwrite=True)
    assert (out / "notes.txt").read_text() == "precious"


def test_other_folders_and_files_are_kept(evaluation: Evaluation, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    require_free(other, overwrite=False)
    (other / "cases.csv").write_text("mine")
    for call in (require_free, lambda out, overwrite: write_evaluation(evaluation, out, overwrite=overwrite)):
        with pytest.raises(UsageError, match="was not written by `medseg evaluate`"):
            call(other, overwrite=True)
        with pytest.raises(UsageError, match="is not a folder"):
            call(other / "cases.csv", overwrite=True)


def test_pictures_and_a_page_that_shows_them(evaluation: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "eval"
    pairs = match_files(tmp_path / "Jane.nii.gz", tmp_path / "case-1.nii.gz")
    write_evaluation(evaluation, out, overwrite=False, worst=worst_cases(evaluation, pairs))
    pictures = sorted(path.name for path in (out / "pictures").iterdir())
    assert pictures == ["dice.png", "hd95.png", "worst-1-1.png", "worst-1-2.png"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == 4
    assert "<script" not in page
    assert "Jane" not in page
    assert "Research use only" in page
    record = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert set(record["outputs"]) == {
        "cases.csv",
        "summary.csv",
        "report.html",
        *(f"pictures/{name}" for name in pictures),
    }
    write_evaluation(evaluation, out, overwrite=True)
    (out / "pictures" / "mine.png").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"mine\.png was not written by medseg"):
        write_evaluation(evaluation, out, overwrite=True)


def test_names_from_files_are_no_markup(tmp_path: Path, save: Save) -> None:
    name = {1: "<b>liver</b>"}
    found, wanted = (save(tmp_path / f"{file}.nii.gz", {1: 2}, name) for file in ("found", "wanted"))
    evaluation = evaluate_files(match_files(found, wanted), metrics_named("dice"))
    write_evaluation(evaluation, tmp_path / "eval", overwrite=False)
    page = (tmp_path / "eval" / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;liver" in page
