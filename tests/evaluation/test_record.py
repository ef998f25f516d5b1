import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import UsageError
from medseg.evaluation import Evaluation, evaluate_files, match_files, metrics_named
from medseg.evaluation.record import require_free, write_evaluation
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
