"""The plugin keeps the contract, its files are those that it names, and it says whose data they rest on."""

import csv
from pathlib import Path

import medseg_hippocampus
import pytest
import yaml

from medseg.cli import run
from medseg.testing.contracts import check_plugin

FOLDER = Path(str(medseg_hippocampus.__file__)).parent / "models" / "hippocampus"
RECIPE = Path(__file__).parents[1] / "recipe"


def test_contract() -> None:
    check_plugin("medseg-hippocampus")


def test_the_model_passes_its_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "check", "hippocampus"]) == 0
    assert capsys.readouterr().out.startswith("hippocampus 0.1.0: ok (4 files, 1 of weights, ")


def test_card_and_licence_name_the_data_and_their_licence() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert card["licence"] == "CC-BY-SA-4.0"
    for said in (" ".join(card["training_data"]), licence):
        for word in (
            "Medical Segmentation Decathlon",
            "Vanderbilt University",
            "creativecommons.org/licenses/by-sa/4.0",
        ):
            assert word in " ".join(said.split())


def test_the_card_counts_what_the_recipe_lists() -> None:
    with (RECIPE / "subjects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # images 2k - 1 and 2k are of subject k
        assert int(row["subject"]) == (int(row["case"].removeprefix("hippocampus_")) + 1) // 2
    subjects = {row["subject"] for row in rows}
    (data, *_) = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))["training_data"]
    assert data.startswith(f"{len(rows)} of the cases")
    assert f"of {len(subjects)} subjects" in data


def test_the_card_does_not_give_the_figures_of_other_models_for_its_own() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    assert "five other models" in card["evaluation"][0]
    assert "no case that was held out" in card["evaluation"][0]
    assert "whole head" in card["limitations"][0]


def test_what_was_trained_is_what_runs() -> None:
    plan = yaml.safe_load((RECIPE / "plan.yaml").read_text(encoding="utf-8"))
    pipeline = yaml.safe_load((FOLDER / "pipeline.yaml").read_text(encoding="utf-8"))
    assert [file["path"] for file in pipeline["segment"]["network"].pop("weights")] == ["weights.safetensors"]
    assert pipeline == plan
